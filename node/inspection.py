"""What is in a folder, series by series: scanner, parts, echoes, grid, and what Lodestone would do, or why not."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset

import dicom_io.errors
import node.errors
import pipeline.errors
from dicom_io.geometry import Geometry
from dicom_io.read.attributes import attribute_values, read_header
from dicom_io.read.headers import FrameHeader
from dicom_io.read.reader import FoundAcquisition, read_echo_series
from dicom_io.read.sorting import assess, in_runs, normal_of, slice_indices
from dicom_io.series import EchoSeries
from node.inspection_advice import for_a_map, for_a_refusal
from node.inspection_pictures import volumes_as_stored, volumes_of, write_picture
from node.purpose import why_ignored
from node.recipe_files import read_recipe
from node.routing import Choice, choose
from node.series_attributes import values_in
from node.settings import Settings

MAPPED, REFUSED, IGNORED = "mapped", "refused", "ignored"
# What something that is still to come could cure.
GAPS = ("IncompleteSeries", "PhaseMissing", "MagnitudeMissing")
PERMANENT = (node.errors.Permanent, dicom_io.errors.Permanent, pipeline.errors.Permanent)
PLANES = ("sagittal", "coronal", "axial")
OBLIQUE_DEGREES = 0.5


@dataclass(frozen=True)
class Grid:
    """Where the voxels lie: sizes along x, y, z, and the direction of B0 along the same image axes."""

    matrix: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float]
    plane: str
    tilt_degrees: float
    b0_direction: tuple[float, float, float]


@dataclass(frozen=True)
class Inspected:
    """One acquisition, series or file, and what would become of it. No patient data is in it.

    `outcome` is "mapped", "refused" or "ignored"; `reason` says why it is not mapped. `further` are the maps that rules
    ask for beside the first.
    """

    series: str
    scanner: str
    protocol: str
    series_uids: tuple[str, ...]
    n_files: int
    n_images: int
    form: str
    parts: dict[str, int]
    echo_times_ms: tuple[float, ...]
    field_t: float | None
    grid: Grid | None
    outcome: str
    reason_class: str = ""
    reason: str = ""
    missing: tuple[str, ...] = ()
    rule: str = ""
    recipe: str = ""
    priority: str = ""
    destinations: tuple[str, ...] = ()
    further: tuple[Choice, ...] = ()
    phase: str = ""
    notes: tuple[str, ...] = ()
    advice: tuple[str, ...] = field(default=())
    picture: str = ""


def inspect(
    found: Sequence[FoundAcquisition],
    settings: Settings,
    on_progress: Callable[[float], None],
    pictures: Path | None = None,
) -> Iterator[Inspected]:
    """Yield what there is to say of every acquisition that was found in a folder, pixels included.

    Parameters
    ----------
    found
        From `find_acquisitions`.
    settings
        Their rules say what would become of a series.
    on_progress
        Called with the share, 0 to 1, that is done.
    pictures
        Where a picture of each goes, in the order of what is yielded; None for no pictures.
    """
    for number, one in enumerate(found, start=1):
        yield _inspected(one, settings, pictures / f"{number:02d}.png" if pictures else None)
        on_progress(number / len(found))


def _inspected(found: FoundAcquisition, settings: Settings, picture: Path | None) -> Inspected:
    header = read_header(found.paths[0])
    frames = [frame for of_file in found.frames for frame in of_file]
    error: Exception | None = found.refusal
    echoes: EchoSeries | None = None
    choices: tuple[Choice, ...] = ()
    try:
        choices = _choices(found, settings)
        if error is None:
            echoes = read_echo_series(found.paths, share=found.share)
    except PERMANENT as failure:
        error = error or failure
    assessment = assess(frames) if frames else None
    geometry = echoes.source.geometry if echoes else _geometry(frames, header)
    reason, outcome = _outcome(error, frames, header, settings)
    choice = choices[0] if choices and error is None else None
    series = _title(found, header)
    return Inspected(
        series=series,
        scanner=", ".join([*_texts(header, "Manufacturer", "ManufacturerModelName"), *_software(header)]),
        protocol=", ".join(dict.fromkeys(_texts(header, "ProtocolName", "SequenceName", "PulseSequenceName"))),
        series_uids=found.series_uids,
        n_files=len(found.paths),
        n_images=len(frames),
        form=_form(frames),
        parts={str(part): count for part, count in sorted(Counter(frame.part for frame in frames).items())},
        echo_times_ms=_echo_times(frames),
        field_t=echoes.source.magnetic_field_strength_t if echoes else _field(frames),
        grid=_grid(geometry) if geometry else None,
        outcome=outcome,
        reason_class=type(error).__name__ if error else "",
        reason=reason,
        missing=tuple(assessment.missing) if assessment and type(error).__name__ in GAPS else (),
        rule=choice.rule if choice else "",
        recipe=choice.recipe if choice else "",
        priority=choice.priority if choice else "",
        destinations=choice.destinations if choice else (),
        further=choices[1:] if choice else (),
        phase=echoes.source.phase_scaling if echoes else "",
        notes=(*echoes.source.notes, *echoes.source.ignored) if echoes else (),
        advice=tuple(_advice(error, outcome, frames, header, echoes)),
        picture=_drawn(picture, found, echoes, geometry, series) if picture and geometry else "",
    )


def _drawn(picture: Path, found: FoundAcquisition, echoes: EchoSeries | None, geometry: Geometry, title: str) -> str:
    volumes = volumes_of(echoes) if echoes else volumes_as_stored(found.paths, found.frames)
    if not volumes:
        return ""
    write_picture(picture, volumes, geometry, title)
    return picture.name


def _title(found: FoundAcquisition, header: Dataset) -> str:
    if not found.series_uids:
        more = f" and {len(found.paths) - 1} more" if len(found.paths) > 1 else ""
        return f"{found.paths[0].name}{more} ({found.description})"
    number, description = _series_numbers(found), _texts(header, "SeriesDescription")
    title = " ".join([number, *description]).strip() or found.description
    if number and not description:
        title = f"{number} (no description)"
    return f"{title}, {found.share.title}" if found.share else title


def _series_numbers(found: FoundAcquisition) -> str:
    """Return the numbers of all series that form an acquisition, such as 8–13."""
    first: dict[str, Path] = {}
    for path, frames in zip(found.paths, found.frames, strict=False):
        first.setdefault(frames[0].series_instance_uid, path)
    headers = [read_header(path) for path in first.values() or found.paths[:1]]
    numbers = sorted({int(float(text)) for header in headers for text in _texts(header, "SeriesNumber")})
    return in_runs(numbers)


def _software(header: Dataset) -> list[str]:
    """Return the SoftwareVersions that says most: GE puts the release after a bare number and a letter or two."""
    stated = [
        f"{value:g}" if isinstance(value, float) else value for value in attribute_values(header, "SoftwareVersions")
    ]
    return [max(stated, key=len)] if stated else []


def _choices(found: FoundAcquisition, settings: Settings) -> tuple[Choice, ...]:
    held = list(zip(found.paths, found.frames or [()] * len(found.paths), strict=True))
    choices = choose(settings.rules, values_in(held), settings.routing.match)
    # A recipe that cannot be read ends the series in the node as well.
    read_recipe(choices[0].recipe, settings.recipes_directory)
    return choices


def _outcome(
    error: Exception | None, frames: Sequence[FrameHeader], header: Dataset, settings: Settings
) -> tuple[str, str]:
    if error is None:
        return "", MAPPED
    image_type = [str(word) for word in attribute_values(header, "ImageType")]
    ignored = why_ignored(error, frames, image_type, bool(settings.rules))
    return (ignored, IGNORED) if ignored else (str(error), REFUSED)


def _advice(
    error: Exception | None, outcome: str, frames: Sequence[FrameHeader], header: Dataset, echoes: EchoSeries | None
) -> list[str]:
    if outcome == IGNORED:
        return []
    if error is not None or echoes is None:
        sequence = next(iter(_texts(header, "SequenceName", "PulseSequenceName")), "")
        return for_a_refusal(type(error).__name__, frames[0].vendor if frames else "", sequence)
    source = echoes.source
    samples = [int(number) for number in attribute_values(header, "AcquisitionMatrix") if isinstance(number, float)]
    times = [1000 * time for time in source.echo_times_s]
    return for_a_map(source.geometry, times, source.magnetic_field_strength_t, samples)


def _texts(header: Dataset, *keywords: str) -> list[str]:
    found = (attribute_values(header, keyword) for keyword in keywords)
    return [f"{values[0]:g}" if isinstance(values[0], float) else values[0] for values in found if values]


def _form(frames: Sequence[FrameHeader]) -> str:
    if not frames:
        return "no MR images"
    return "one image per file" if all(frame.frame_number is None for frame in frames) else "multi-frame objects"


def _echo_times(frames: Sequence[FrameHeader]) -> tuple[float, ...]:
    # Philips writes zero for a field map, which has no echo of its own.
    return tuple(sorted({round(frame.echo_time_ms, 3) for frame in frames if frame.echo_time_ms}))


def _field(frames: Sequence[FrameHeader]) -> float | None:
    return next((frame.magnetic_field_strength_t for frame in frames if frame.magnetic_field_strength_t), None)


def _geometry(frames: Sequence[FrameHeader], header: Dataset) -> Geometry | None:
    """Return the grid that the frames of a series lie on, None where they lie on none."""
    try:
        n_slices = slice_indices(frames)[1] if frames else 0
    except dicom_io.errors.GeometryUnusable:
        return None
    if not n_slices:
        return None
    first, normal = frames[0], normal_of(frames[0])
    distances = np.array([frame.position for frame in frames]) @ normal
    thickness = next((value for value in attribute_values(header, "SliceThickness") if isinstance(value, float)), 0.0)
    step = float(np.ptp(distances)) / (n_slices - 1) if n_slices > 1 else first.spacing_between_slices or thickness
    x, y, z = normal * step
    return Geometry(
        row_direction=first.orientation[:3],
        column_direction=first.orientation[3:],
        first_position=frames[int(np.argmin(distances))].position,
        slice_step=(float(x), float(y), float(z)),
        pixel_spacing=first.pixel_spacing,
        shape=(n_slices, first.rows, first.columns),
        frame_of_reference_uid=first.frame_of_reference_uid,
    )


def _grid(geometry: Geometry) -> Grid:
    normal = np.abs(geometry.normal)
    nearest = int(np.argmax(normal))
    tilt = float(np.degrees(np.arccos(min(1.0, normal[nearest]))))
    b0 = geometry.b0_direction[::-1]
    return Grid(
        matrix=(geometry.shape[2], geometry.shape[1], geometry.shape[0]),
        voxel_size_mm=(geometry.voxel_size_mm[2], geometry.voxel_size_mm[1], geometry.voxel_size_mm[0]),
        plane=("oblique " if tilt > OBLIQUE_DEGREES else "") + PLANES[nearest],
        tilt_degrees=round(tilt, 2),
        b0_direction=(b0[0], b0[1], b0[2]),
    )
