"""A small raw scan, for tests of what reads and writes raw data."""

import numpy as np

from dicom_io.kspace.readout_heads import LAST_IN_MEASUREMENT, NOISE, new_heads
from dicom_io.kspace.scan import Limit, RawHeader, RawScan, Space

IDENTITY = {
    "PatientName": "Raw^Phantom",
    "PatientID": "RAW-1",
    "PatientSex": "O",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyDate": "20260102",
    "StudyTime": "101500",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2",
    "ProtocolName": "qsm_megre_3d",
}


def raw_header(shape=(2, 4, 16), echo_times_s=(0.005, 0.01), **changes):
    nz, ny, nx = shape
    encoded = Space(shape, (2.0 * nz, 2.0 * ny, 2.0 * nx / 2))
    given = {
        "field_strength_t": 3.0,
        "echo_times_s": echo_times_s,
        "encoded": encoded,
        "recon": Space((nz, ny, nx // 2), (2.0 * nz, 2.0 * ny, 2.0 * nx / 4)),
        "limits": {
            "kspace_encoding_step_1": Limit(0, ny - 1, ny // 2),
            "kspace_encoding_step_2": Limit(0, nz - 1, nz // 2),
            "contrast": Limit(0, len(echo_times_s) - 1, 0),
        },
        "identity": IDENTITY,
        "vendor": "Lodestone",
        "model": "Simulated scanner",
        "repetition_times_s": (0.04,),
        "flip_angles_deg": (15.0,),
    }
    return RawHeader(**{**given, **changes})


def raw_scan(shape=(2, 4, 16), n_coils=3, seed=1, **changes):
    """A fully sampled scan behind one noise readout."""
    header = raw_header(shape, **changes)
    nz, ny, nx = shape
    places = [(e, z, y) for z in range(nz) for y in range(ny) for e in range(len(header.echo_times_s))]
    heads = new_heads([nx * 2, *[nx] * len(places)], n_coils)
    heads["flags"][0] = NOISE
    heads["flags"][-1] |= np.uint64(LAST_IN_MEASUREMENT)
    for head, (echo, z, y) in zip(heads[1:], places, strict=True):
        head["idx"]["contrast"], head["idx"]["kspace_encode_step_2"] = echo, z
        head["idx"]["kspace_encode_step_1"] = y
    heads["sample_time_us"] = 5.0
    generator = np.random.default_rng(seed)
    samples = [
        (generator.normal(size=(n_coils, n)) + 1j * generator.normal(size=(n_coils, n))).astype(np.complex64)
        for n in heads["number_of_samples"]
    ]
    return RawScan(header, heads, samples)
