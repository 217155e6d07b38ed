"""A raw scan: what the header states, and every readout with its samples, whatever file or stream brought it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dicom_io.kspace.readout_heads import CALIBRATION, CALIBRATION_AND_IMAGING, DUMMY, NAVIGATORS, NOISE, NOT_IMAGING

CARTESIAN = "cartesian"
EPI = "epi"
BENT = "bent"
"""What a trajectory is called whose readouts do not run along one axis, whatever the header calls it."""
MULTIBAND = "multibandFactor"
"""The parameter that says how many slices were measured at once; absent where it was one."""


@dataclass(frozen=True)
class Limit:
    """The range of an encoding counter, both ends inclusive, and the value at which k = 0 is measured."""

    minimum: int
    maximum: int
    center: int


@dataclass(frozen=True)
class Space:
    """A matrix `(z, y, x)` and the field of view [mm] that it covers; x is the readout."""

    shape: tuple[int, int, int]
    field_of_view_mm: tuple[float, float, float]

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Return the size of a voxel along `(z, y, x)` [mm]."""
        (nz, ny, nx), (fz, fy, fx) = self.shape, self.field_of_view_mm
        return fz / nz, fy / ny, fx / nx


@dataclass(frozen=True)
class RawHeader:
    """What is stated about a raw scan as a whole.

    `identity` maps DICOM keywords (`PatientID`, `StudyInstanceUID`, `FrameOfReferenceUID`, ...) to their values; dates
    and times have DICOM's form. `encoded` is the space that was sampled, readout oversampling included; `recon` is the
    space of the images. `limits` has ISMRMRD's names (`kspace_encoding_step_1`, `contrast`, ...). `acceleration` is
    along `(step 1, step 2)`. `parameters` holds the trajectory's and the user's named values (`rampUpTime`, ...), with
    the names and units that the writer gave them. `xml` is the text that was read, or empty.
    """

    field_strength_t: float
    echo_times_s: tuple[float, ...]
    encoded: Space
    recon: Space
    limits: Mapping[str, Limit] = field(default_factory=dict)
    acceleration: tuple[int, int] = (1, 1)
    calibration_mode: str = ""
    trajectory: str = CARTESIAN
    identity: Mapping[str, str] = field(default_factory=dict)
    vendor: str = ""
    model: str = ""
    repetition_times_s: tuple[float, ...] = ()
    flip_angles_deg: tuple[float, ...] = ()
    echo_spacing_s: float | None = None
    patient_position: str = "HFS"
    parameters: Mapping[str, float | str] = field(default_factory=dict)
    xml: str = field(default="", repr=False)


@dataclass(frozen=True)
class RawScan:
    """A header and its readouts in the order of acquisition.

    `samples[i]` is complex64 `(coil, sample)`; `heads` is `(readout,)` of dtype `READOUT_HEAD`. The properties are
    views of `heads`, one value per readout.
    """

    header: RawHeader
    heads: np.ndarray
    samples: Sequence[np.ndarray]
    notes: tuple[str, ...] = ()

    @property
    def n_readouts(self) -> int:
        """Return how many readouts there are, of every kind."""
        return len(self.heads)

    @property
    def step_1(self) -> np.ndarray:
        """Return the index of phase encoding (y)."""
        return self.heads["idx"]["kspace_encode_step_1"]

    @property
    def step_2(self) -> np.ndarray:
        """Return the index of the partition (z)."""
        return self.heads["idx"]["kspace_encode_step_2"]

    @property
    def slice(self) -> np.ndarray:
        """Return the index of the slice or slab."""
        return self.heads["idx"]["slice"]

    @property
    def contrast(self) -> np.ndarray:
        """Return the index of the echo."""
        return self.heads["idx"]["contrast"]

    @property
    def segment(self) -> np.ndarray:
        """Return the index of the segment or shot."""
        return self.heads["idx"]["segment"]

    @property
    def average(self) -> np.ndarray:
        """Return the index of the average."""
        return self.heads["idx"]["average"]

    @property
    def repetition(self) -> np.ndarray:
        """Return the index of the repetition."""
        return self.heads["idx"]["repetition"]

    @property
    def set(self) -> np.ndarray:
        """Return the index of the set."""
        return self.heads["idx"]["set"]

    @property
    def flags(self) -> np.ndarray:
        """Return ISMRMRD's flags, uint64."""
        return self.heads["flags"]

    @property
    def center_sample(self) -> np.ndarray:
        """Return the sample at which k = 0 is passed."""
        return self.heads["center_sample"]

    @property
    def discard_pre(self) -> np.ndarray:
        """Return how many samples at the start hold no signal."""
        return self.heads["discard_pre"]

    @property
    def discard_post(self) -> np.ndarray:
        """Return how many samples at the end hold no signal."""
        return self.heads["discard_post"]

    @property
    def time_stamp(self) -> np.ndarray:
        """Return the time of acquisition in the scanner's ticks, 2.5 ms for Siemens."""
        return self.heads["acquisition_time_stamp"]

    @property
    def sample_time_us(self) -> np.ndarray:
        """Return the time from sample to sample [µs]."""
        return self.heads["sample_time_us"]


def noise_readouts(scan: RawScan) -> np.ndarray:
    """Return the indices of the readouts that measured noise alone."""
    return np.flatnonzero(scan.flags & np.uint64(NOISE))


def imaging_readouts(scan: RawScan) -> np.ndarray:
    """Return the indices of the readouts that belong to the images.

    A line flagged as calibration and imaging belongs to both; a line flagged only as calibration to the separate
    reference.
    """
    return np.flatnonzero((scan.flags & np.uint64(NOT_IMAGING)) == 0)


def calibration_readouts(scan: RawScan) -> np.ndarray:
    """Return the indices of the readouts that calibrate the coils, those that also serve the images among them."""
    calibrates = (scan.flags & np.uint64(CALIBRATION | CALIBRATION_AND_IMAGING)) != 0
    other = np.uint64(NOT_IMAGING & ~CALIBRATION)
    return np.flatnonzero(calibrates & ((scan.flags & other) == 0))


def navigator_readouts(scan: RawScan) -> np.ndarray:
    """Return the indices of the readouts that are navigators or phase-correction lines, without noise and dummies."""
    # Siemens flags the navigators of EPI as real-time feedback as well.
    return np.flatnonzero(((scan.flags & np.uint64(NAVIGATORS)) != 0) & ((scan.flags & np.uint64(NOISE | DUMMY)) == 0))
