"""The head of one readout, as ISMRMRD lays it out: 340 bytes, packed, little endian; and what its flags mean."""

from collections.abc import Iterable

import numpy as np

ENCODING_COUNTERS = np.dtype(
    [
        ("kspace_encode_step_1", "<u2"),
        ("kspace_encode_step_2", "<u2"),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("segment", "<u2"),
        ("user", "<u2", (8,)),
    ]
)

READOUT_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("scan_counter", "<u4"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("number_of_samples", "<u2"),
        ("available_channels", "<u2"),
        ("active_channels", "<u2"),
        ("channel_mask", "<u8", (16,)),
        ("discard_pre", "<u2"),
        ("discard_post", "<u2"),
        ("center_sample", "<u2"),
        ("encoding_space_ref", "<u2"),
        ("trajectory_dimensions", "<u2"),
        ("sample_time_us", "<f4"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("idx", ENCODING_COUNTERS),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
    ]
)

COUNTERS = tuple(name for name in ENCODING_COUNTERS.names or () if name != "user")

# ISMRMRD counts its flags from 1.
NOISE = 1 << (19 - 1)
CALIBRATION = 1 << (20 - 1)
CALIBRATION_AND_IMAGING = 1 << (21 - 1)
REVERSE = 1 << (22 - 1)
NAVIGATION = 1 << (23 - 1)
PHASE_CORRECTION = 1 << (24 - 1)
LAST_IN_MEASUREMENT = 1 << (25 - 1)
HIGH_PRIORITY_FEEDBACK = 1 << (26 - 1)
DUMMY = 1 << (27 - 1)
REAL_TIME_FEEDBACK = 1 << (28 - 1)
SURFACE_COIL_CORRECTION = 1 << (29 - 1)
PHASE_STABILIZATION_REFERENCE = 1 << (30 - 1)
PHASE_STABILIZATION = 1 << (31 - 1)

NAVIGATORS = NAVIGATION | PHASE_CORRECTION
NOT_IMAGING = (
    NOISE
    | CALIBRATION
    | NAVIGATORS
    | HIGH_PRIORITY_FEEDBACK
    | DUMMY
    | REAL_TIME_FEEDBACK
    | SURFACE_COIL_CORRECTION
    | PHASE_STABILIZATION_REFERENCE
    | PHASE_STABILIZATION
)


def new_heads(n_samples: Iterable[int], n_coils: int) -> np.ndarray:
    """Return heads `(readout,)` of these lengths: counters and flags zero, k = 0 in the middle, axes along x, y, z."""
    lengths = np.asarray(list(n_samples), dtype=np.uint16)
    heads = np.zeros(len(lengths), READOUT_HEAD)
    heads["version"] = 1
    heads["scan_counter"] = np.arange(1, len(lengths) + 1)
    heads["number_of_samples"] = lengths
    heads["available_channels"] = heads["active_channels"] = n_coils
    heads["center_sample"] = lengths // 2
    heads["read_dir"], heads["phase_dir"], heads["slice_dir"] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    return heads
