"""assembled, for k-space: the scan is one that can be reconstructed, and where its images will lie is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dicom_io.errors import MixedSeries
from dicom_io.instance import open_instance
from dicom_io.kspace.header_check import check_counts, check_header, check_noise
from dicom_io.kspace.source import PHASE_SCALING, source_of
from dicom_io.series import SourceSeries
from node.convert import to_grid
from node.kspace_convert import geometry_of_images
from node.raw_scans import HeldRawScan, read_raw_scan
from node.routing import Value, Values, ValuesOf
from node.services import Services
from node.settings import Settings


def hold_raw_scan(services: Services, paths: Sequence[Path]) -> HeldRawScan:
    """Return the scan of a series of raw data, after refusing what could not be reconstructed.

    Raises
    ------
    DicomError
        The class and the sentence say what forbids an image.
    ArtefactDamaged
        The raw data are not kept here.
    """
    if len(paths) != 1:
        raise MixedSeries(f"The series holds {len(paths)} Raw Data objects; one is one scan, send each as a series.")
    held = read_raw_scan(services.kspace, paths[0])
    check_header(held.scan.header)
    check_counts(held.scan)
    check_noise(held.scan, needs_noise(services.settings, held))
    return held


def needs_noise(settings: Settings, held: HeldRawScan) -> bool:
    """Say whether a scan must hold a noise measurement: the site and the scan's sidecar may say that there is none."""
    return settings.kspace.noise == "required" and not held.payload.overrides.is_without_noise


def facts_of(held: HeldRawScan) -> dict[str, Any]:
    """Return what the record says of the acquisition, as for images."""
    scan, geometry = held.scan, geometry_of_images(held.scan, "")
    grid = to_grid(geometry)
    return {
        "echo_times_s": list(scan.header.echo_times_s),
        "b0_tesla": scan.header.field_strength_t,
        "shape": list(grid.shape),
        "voxel_size_mm": list(grid.voxel_size_mm),
        "b0_direction": list(grid.b0_direction),
        "vendor": scan.header.vendor or "unknown",
        "phase_scaling": PHASE_SCALING,
        "notes": list(scan.notes),
        "ignored": [],
    }


def raw_source(services: Services, path: Path, shape: Sequence[int] | None = None) -> SourceSeries:
    """Return what derived objects need to know of a scan, from its Raw Data object; `shape` is that of its images."""
    held, template = read_raw_scan(services.kspace, path), open_instance(path)
    return source_of(held.scan, template, geometry_of_images(held.scan, str(template.FrameOfReferenceUID), shape))


def values_of_scan(held: HeldRawScan, values_of: ValuesOf) -> ValuesOf:
    """Return the function that looks up attributes for rules; some stand in the raw data's own header."""
    header = held.scan.header
    own: dict[str, list[Value]] = {
        "EchoTime": [1000 * time for time in header.echo_times_s],
        "RepetitionTime": [1000 * time for time in header.repetition_times_s],
        "FlipAngle": list(header.flip_angles_deg),
        "MagneticFieldStrength": [header.field_strength_t],
    }

    def find(path: str) -> Values:
        return own[path] if path in own else values_of(path)

    return find
