"""The scanners that the demonstration can play: which manufacturer's objects it sends, and what they are in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset

from dicom_io.geometry import Geometry
from dicom_io.write.scanner import scanner_series
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS
from pipeline.acquisition import Acquisition

NEUTRAL = "lodestone"
NEUTRAL_SENTENCE = "Classic images of no manufacturer: one series of magnitude and phase that declares its count."


@dataclass(frozen=True)
class Scanner:
    """A scanner that sent a demonstration: its `flavour`, its name as its headers give it, and what it sent."""

    flavour: str
    name: str
    sentence: str
    n_series: int
    n_objects: int


def known_scanners() -> dict[str, str]:
    """Return every flavour with a sentence on what it sends; the one of no manufacturer first."""
    sentences = {name: _first_line(write.__doc__) for name, write in FLAVOURS.items()}
    return {NEUTRAL: NEUTRAL_SENTENCE, **sentences}


def images_of(acquisition: Acquisition, geometry: Geometry, flavour: str = NEUTRAL) -> list[Dataset]:
    """Write an acquisition as one of `known_scanners` would, in the order in which it sends."""
    magnitude, phase = acquisition.magnitude.numpy(), acquisition.phase.numpy()
    times, field_t = acquisition.echo_times_s, acquisition.b0_tesla
    if flavour == NEUTRAL:
        return scanner_series(magnitude, phase, times, geometry, field_t)
    taken = Scan(
        magnitude=magnitude,
        phase=phase,
        echo_times_s=tuple(times),
        geometry=geometry,
        magnetic_field_strength_t=field_t,
    )
    return FLAVOURS[flavour](taken)


def scanner_of(images: Sequence[Dataset], flavour: str = NEUTRAL) -> Scanner:
    """Return which scanner sent some images, by their headers."""
    first = images[0]
    versions = first.SoftwareVersions if isinstance(first.SoftwareVersions, str) else " ".join(first.SoftwareVersions)
    n_series = len({image.SeriesInstanceUID for image in images})
    name = ", ".join(filter(None, (str(first.Manufacturer), str(first.ManufacturerModelName), versions)))
    return Scanner(flavour, name, known_scanners()[flavour], n_series, len(images))


def _first_line(documentation: str | None) -> str:
    # Each flavour's function says in its first line what it writes.
    sentence = (documentation or "").strip().splitlines()[0].removeprefix("Write ")
    return sentence[:1].upper() + sentence[1:]
