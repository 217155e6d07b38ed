"""The commissioning kit: known objects for a site's archive and viewer, and what became of each at a peer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
from pydicom import Dataset

from dicom_io.errors import PeerRefused
from dicom_io.network.send_result import SendResult
from dicom_io.series import SourceSeries
from dicom_io.write.commissioning import (
    BLOCK_PPB,
    SHAPE,
    SQUARES,
    block_mask,
    commissioning_images,
    commissioning_run,
    commissioning_source,
    known_map_ppb,
    square_labels,
)
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, measurement_report
from dicom_io.write.segmentation import segmentation, segments
from dicom_io.write.summary import encapsulated_pdf
from dicom_io.write.validation import validate
from node.destinations import Destination
from node.object_kinds import ObjectKind
from node.software import software

SOURCE = "source"
PAGE_TITLE = "Commissioning: what the viewer must show"
PAGE_DESCRIPTION = "QA instructions"
QUALITY = {"n_echoes_used": 1.0}
SENTENCES = (f"Commissioning series: the values are made up. The block around the squares is {BLOCK_PPB} ppb.",)
NAMES = {square.number: square.name for square in SQUARES}

OnStatus = Callable[[SendResult], None]


@dataclass(frozen=True)
class Kit:
    """The kit's objects by kind, in the order of sending, all of one seed and day."""

    seed: str
    day: date
    source: SourceSeries
    run: RunDescription
    images: list[Dataset]
    objects: dict[str, list[Dataset]]

    @property
    def study_uid(self) -> str:
        """Return the StudyInstanceUID of all objects."""
        return str(self.source.template.StudyInstanceUID)

    def page(self, content: bytes) -> Dataset:
        """Return the printed instructions as an object of the kit.

        Raises
        ------
        InvalidObject
            The content is no PDF.
        """
        made = encapsulated_pdf(content, PAGE_TITLE, self.images, self.source, self.run, PAGE_DESCRIPTION)
        validate(made)
        return made


@dataclass(frozen=True)
class KitFile:
    """One object of the kit as a file."""

    kind: str
    path: Path
    SOPInstanceUID: str


@dataclass
class KindOutcome:
    """What a peer said to the objects of one kind; `sentences` are its refusals and warnings, each once."""

    kind: str
    n_objects: int
    n_accepted: int = 0
    sentences: list[str] = field(default_factory=list)

    @property
    def is_accepted(self) -> bool:
        """Say whether the peer holds all of them."""
        return self.n_accepted == self.n_objects


def make_kit(seed: str, day: date, node_ae_title: str) -> Kit:
    """Make and validate everything but the printed page; equal arguments and software give equal bytes.

    Raises
    ------
    InvalidObject
        An object does not satisfy the standard.
    """
    known = software()
    taken = commissioning_images(seed, day)
    source = commissioning_source(taken, seed)
    run = commissioning_run(seed, day, known["lodestone"], known["code_revision"], node_ae_title)
    values = known_map_ppb()
    images = susceptibility_series(values, source, run)
    mask, labels = block_mask(), square_labels()
    regions = segmentation(mask, labels, NAMES, images, source, run)
    measured = _measured(values, mask, labels, source)
    objects = {
        SOURCE: taken,
        ObjectKind.SUSCEPTIBILITY: images,
        ObjectKind.PARAMETRIC_MAP: [parametric_map(values / 1000, images, source, run)],
        ObjectKind.SEGMENTATION: [regions],
        ObjectKind.REPORT: [measurement_report(measured, regions, images, source, run, QUALITY, SENTENCES)],
        ObjectKind.PLANAR_REPORT: [planar_report(measured, mask, labels, images, source, run, QUALITY, SENTENCES)],
        ObjectKind.PRESENTATION: [presentation_state(images, source, run)],
    }
    for made in objects.values():
        for one in made:
            validate(one)
    return Kit(seed, day, source, run, images, {str(kind): made for kind, made in objects.items()})


def write_objects(folder: Path, kind: str, objects: Sequence[Dataset]) -> list[KitFile]:
    """Write objects of one kind under names of our own making."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, one in enumerate(objects, start=1):
        path = folder / f"{kind}-{number:04d}.dcm"
        path.write_bytes(to_bytes(one))
        files.append(KitFile(kind, path, str(one.SOPInstanceUID)))
    return files


def deliver(files: Sequence[KitFile], destination: Destination, on_status: OnStatus) -> list[KindOutcome]:
    """Send files and return what the peer said to each kind; a refusal of one does not stop the others.

    Raises
    ------
    PeerUnreachable
        The peer cannot be reached, or no longer.
    """
    kinds = {file.path: file.kind for file in files}
    outcomes = {kind: KindOutcome(kind, list(kinds.values()).count(kind)) for kind in dict.fromkeys(kinds.values())}

    def note(result: SendResult) -> None:
        outcome = outcomes[kinds[result.path]]
        outcome.n_accepted += result.is_accepted
        said = result.meaning if result.status is None else f"{result.meaning} (0x{result.status:04X})"
        if (result.is_warning or not result.is_accepted) and said not in outcome.sentences:
            outcome.sentences.append(said)
        on_status(result)

    try:
        destination.store([file.path for file in files], note)
    except PeerRefused as error:
        # Each refusal is known by its status; what was not asked any more is told by the sentence.
        for outcome in outcomes.values():
            if not outcome.is_accepted and not outcome.sentences:
                outcome.sentences.append(str(error))
    return list(outcomes.values())


def _measured(values: np.ndarray, mask: np.ndarray, labels: np.ndarray, source: SourceSeries) -> list[RegionValues]:
    voxel_ml = float(np.prod(source.geometry.voxel_size_mm)) / 1000
    found = []
    for item in segments(labels, NAMES):
        inside = values[mask if item.label == 0 else labels == item.label]
        mean, sd, median = float(inside.mean()), float(inside.std()), float(np.median(inside))
        found.append(RegionValues(item.name, mean, sd, median, inside.size * voxel_ml, item.number))
    return found


def expectations() -> list[dict[str, object]]:
    """Return what a person, or a program, must read where: value, rows, columns, slices and centre of every square."""
    return [
        {
            "square": square.number,
            "value_ppb": square.value_ppb,
            "side": square.side,
            "end": square.end,
            "rows": list(square.rows),
            "columns": list(square.columns),
            "instance_numbers": [1, SHAPE[0]],
            "centre_x_y_mm": list(square.centre_mm),
        }
        for square in SQUARES
    ]
