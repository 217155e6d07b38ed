"""One acquisition as read from DICOM: ordered arrays, their units, and the way back to every source instance."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from pydicom import Dataset

from dicom_io.geometry import Geometry


class Part(StrEnum):
    """What the pixel values of a frame are (ComplexImageComponent, PS3.3 C.8.13.3.1.3, and what vendors add)."""

    MAGNITUDE = "magnitude"
    PHASE = "phase"
    REAL = "real"
    IMAGINARY = "imaginary"
    FIELD_MAP = "field map"
    PHASE_DIFFERENCE = "phase difference"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class SourceFrame:
    """One frame that was used: its object, its frame number (1-based) when the object has several, and its series.

    Scanners exist that send magnitude and phase as two series. An empty `SeriesInstanceUID` means the template's.
    """

    SOPClassUID: str
    SOPInstanceUID: str
    frame_number: int | None = None
    SeriesInstanceUID: str = ""


@dataclass(frozen=True)
class SourceSeries:
    """Everything about an acquisition except its pixels.

    `template` is the header of one source object without pixel data, for patient, study and equipment identity.
    `frames[slice]` names every frame (all echoes, all parts) used for that slice.
    `phase_scaling` says in words how stored values became radians. `notes` are sentences for the report.
    """

    geometry: Geometry
    echo_times_s: tuple[float, ...]
    magnetic_field_strength_t: float
    vendor: str
    template: Dataset
    frames: tuple[tuple[SourceFrame, ...], ...]
    phase_scaling: str
    is_enhanced: bool
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class EchoSeries:
    """An acquisition with pixels: `magnitude` and `phase` [rad], float32 of shape `(echo, z, y, x)`, phase in ±π."""

    source: SourceSeries
    magnitude: np.ndarray
    phase: np.ndarray
