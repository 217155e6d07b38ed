"""Sources with the headers of every scanner in the golden data, also of series that are refused as a map's input.

A refused series (magnitude only, a field map, another protocol) has everything that identity, geometry and provenance
of a derived object are copied from; what it lacks is the phase, which the encoding never looks at.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pydicom

from dicom_io.geometry import Geometry
from dicom_io.read.headers import FrameHeader, read_frame_headers
from dicom_io.read.multiframe import MULTI_FRAME
from dicom_io.read.reader import PIXEL_KEYWORDS, read_source
from dicom_io.series import SourceFrame, SourceSeries

READABLE = {
    "philips_ingenia_571_classic": "philips_ingenia_571_2echo_gre/classic/*.dcm",
    "philips_ingenia_571_enhanced": "philips_ingenia_571_2echo_gre/enhanced/*phMag.dcm",
}
HEADERS = {
    "siemens_prisma_xa30_enhanced": "siemens_prisma_xa30_enhanced_fieldmap/8_magnitude/*",
    "siemens_prisma_xa30_enhanced_difference": "siemens_prisma_xa30_enhanced_fieldmap/9_phasediff/*",
    "siemens_prisma_ve11c_classic": "siemens_prisma_ve11c_fieldmap_phantom/2_magnitude/*",
    "siemens_prisma_ve11c_classic_difference": "siemens_prisma_ve11c_fieldmap_phantom/3_phasediff/*",
    "siemens_terra_xa60_7t_enhanced": "router_negatives/siemens_terra_xa60_7t_bold_enhanced/*",
    "ge_architect_dv27_classic": "direct_fieldmap_traps/ge_architect_dv27_b0rf/*",
    "philips_achieva_530_enhanced": "direct_fieldmap_traps/philips_achieva_530_b0/*",
    "uih_umr770_r002_classic": "router_negatives/uih_umr770_r002_t1_gre3d/*",
    "canon_galan_v61_classic": "router_negatives/canon_galan_v61_dwi_classic/*",
}
SIMULATED = "simulated"
FLAVOURS = (SIMULATED, *READABLE, *HEADERS)
ENHANCED = tuple(flavour for flavour in FLAVOURS if "enhanced" in flavour)


def vendor_source(flavour: str, data_dir: Path) -> SourceSeries:
    """Return the source of a flavour named in `READABLE` or `HEADERS`."""
    paths = source_files(flavour, data_dir)
    if flavour in READABLE:
        return read_source(paths)
    frames = [frame for path in paths for frame in read_frame_headers(path)]
    template = pydicom.dcmread(paths[0], stop_before_pixels=True)
    for keyword in PIXEL_KEYWORDS:
        template.pop(keyword, None)
    geometry = _grid(frames)
    return SourceSeries(
        geometry=geometry,
        echo_times_s=tuple(sorted({frame.echo_time_ms / 1000 for frame in frames if frame.echo_time_ms})),
        magnetic_field_strength_t=float(frames[0].magnetic_field_strength_t or 0),
        vendor=frames[0].vendor,
        template=template,
        frames=tuple(_at(frames, geometry.position(index)) for index in range(geometry.shape[0])),
        phase_scaling="not read, since only the header is used",
        is_enhanced=frames[0].sop_class_uid in MULTI_FRAME,
    )


def source_files(flavour: str, data_dir: Path) -> list[Path]:
    """Return the files of a flavour named in `READABLE` or `HEADERS`."""
    pattern = {**READABLE, **HEADERS}[flavour]
    found = sorted(data_dir.glob(pattern))
    assert found, f"no file fits {pattern}"
    return found


def _grid(frames: Iterable[FrameHeader]) -> Geometry:
    by_position = {frame.position: frame for frame in frames}
    first = next(iter(by_position.values()))
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    ordered = sorted(by_position, key=lambda position: float(np.dot(normal, position)))
    step = (np.array(ordered[-1]) - np.array(ordered[0])) / (len(ordered) - 1)
    return Geometry(
        row_direction=first.orientation[:3],
        column_direction=first.orientation[3:],
        first_position=ordered[0],
        slice_step=(float(step[0]), float(step[1]), float(step[2])),
        pixel_spacing=first.pixel_spacing,
        shape=(len(ordered), first.rows, first.columns),
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _at(frames: Iterable[FrameHeader], position: tuple[float, float, float]) -> tuple[SourceFrame, ...]:
    found = [frame for frame in frames if np.allclose(frame.position, position, atol=0.01)]
    assert found, "no frame lies where the grid has a slice"
    return tuple(SourceFrame(frame.sop_class_uid, frame.sop_instance_uid, frame.frame_number) for frame in found)
