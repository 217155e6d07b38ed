"""What a simulated scanner scanned: a complex multi-echo image, its grid and its examination, whatever the vendor."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from dicom_io.geometry import Geometry
from dicom_io.write.identity import derived_uid
from dicom_io.write.scanner import GYROMAGNETIC_RATIO_MHZ_PER_T, Examination

COMPONENTS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}


@dataclass(frozen=True)
class Place:
    """One frame: its part (a letter of `COMPONENTS`), and its echo and slice, both counted from 0."""

    part: str
    echo: int
    index: int

    @property
    def component(self) -> str:
        """The part in the standard's word (ComplexImageComponent, PS3.3 C.8.13.3.1.3)."""
        return COMPONENTS[self.part]


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A complex image before a manufacturer writes it.

    `magnitude` and `phase` have shape `(echo, z, y, x)`, magnitude in any unit, phase [rad] growing with the field,
    wrapped or not. `echo_times_s` [s]. The polarity of the readout, monopolar or bipolar, is in the phase alone: no
    manufacturer's header states it in a public attribute.
    """

    magnitude: np.ndarray
    phase: np.ndarray
    echo_times_s: tuple[float, ...]
    geometry: Geometry
    magnetic_field_strength_t: float
    examination: Examination = field(default_factory=Examination)

    def __post_init__(self) -> None:
        """Refuse arrays that do not fit echo times and grid."""
        expected = (len(self.echo_times_s), *self.geometry.shape)
        if self.magnitude.shape != expected or self.phase.shape != expected:
            message = f"magnitude {self.magnitude.shape} and phase {self.phase.shape} must both have shape {expected}"
            raise ValueError(message)

    @property
    def n_echoes(self) -> int:
        """How many echoes were read."""
        return len(self.echo_times_s)

    @property
    def n_slices(self) -> int:
        """How many slices the volume has."""
        return self.geometry.shape[0]

    @property
    def frequency_mhz(self) -> float:
        """The resonance frequency of hydrogen [MHz]."""
        return round(self.magnetic_field_strength_t * GYROMAGNETIC_RATIO_MHZ_PER_T, 6)

    @property
    def largest(self) -> float:
        """The largest magnitude, or 1 where the image is empty."""
        return float(self.magnitude.max()) or 1.0

    def echo_time_ms(self, echo: int) -> float:
        """Return the time of an echo [ms]."""
        return round(1000 * self.echo_times_s[echo], 6)

    def values(self, place: Place) -> np.ndarray:
        """Return the image of a place `(y, x)`: phase in [−π, π), the other parts as a share of `largest`."""
        magnitude = np.asarray(self.magnitude[place.echo, place.index], np.float64) / self.largest
        phase = np.asarray(self.phase[place.echo, place.index], np.float64)
        if place.part == "M":
            return magnitude
        if place.part == "P":
            return np.mod(phase + math.pi, 2 * math.pi) - math.pi
        return magnitude * (np.cos(phase) if place.part == "R" else np.sin(phase))

    def places(self, parts: str) -> Iterator[Place]:
        """Yield every frame, slice by slice, in each slice echo by echo, in each echo part by part."""
        for index in range(self.n_slices):
            for echo in range(self.n_echoes):
                for part in parts:
                    yield Place(part, echo, index)

    def series_uid(self, *distinction: str) -> str:
        """Return a SeriesInstanceUID that depends on the examination and on what tells the series apart."""
        return derived_uid("simulated series", self.examination.seed, *distinction)

    def conjugated(self, has_alternating_slices: bool) -> "Scan":
        """Return the image whose phase falls as the field grows, every second slice turned by π where asked for."""
        phase = -np.asarray(self.phase, np.float64)
        if has_alternating_slices:
            phase[:, 1::2] += math.pi
        return replace(self, phase=phase)
