"""The DICOM objects of one run, made from its maps: images, segmentation, reports and pages, all validated."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.companions import Companion, companion_series
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.planar_report import planar_report
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.segmentation import segmentation, segments
from dicom_io.write.summary import encapsulated_pdf
from dicom_io.write.validation import validate
from node.convert import PPB_PER_PPM, to_hertz, to_ppb
from node.object_kinds import USUAL_KINDS, ObjectKind
from node.region_trust import interval_scale, with_trust
from node.run_sentences import is_fallback, report_sentences
from node.summary_pdf import summary_pdf
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, COMPANION_SERIES
from pipeline.regions.measurements import RegionMeasurement, measure

BRAIN = "Brain"
SUMMARY_TITLE = "Quantitative susceptibility mapping: summary"

Made = Iterator[tuple[ObjectKind, Dataset]]


@dataclass(frozen=True)
class Regions:
    """Labels `(z, y, x)` on the series' grid with their names; without labels only the brain mask is a region."""

    labels: np.ndarray | None = None
    names: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a run has found.

    `maps` are arrays by name, as `maps_artefact` gives them; `quality` is what `Quality.as_dict` gives; `measured` are
    the values of `regions`. `magnitude` `(z, y, x)` is an image of the head for the pages, where there is one.
    """

    maps: Mapping[str, np.ndarray]
    quality: Mapping[str, Any]
    measured: Sequence[RegionMeasurement]
    regions: Regions = field(default_factory=Regions)
    magnitude: np.ndarray | None = None

    @property
    def role(self) -> MapRole:
        """Return whose map the susceptibility is."""
        if not self.quality.get("weights"):
            return MapRole.ONLY
        return MapRole.CLASSICAL if is_fallback(self.quality) else MapRole.LEARNED


@dataclass(frozen=True)
class Wanted:
    """Which objects of a run are wanted.

    `companions` are the recipe's; `as_source` asks for Enhanced MR where the source was enhanced.
    """

    kinds: Sequence[str] = USUAL_KINDS
    companions: Sequence[str] = ()
    as_source: bool = False


@dataclass(frozen=True)
class MadeObject:
    """One validated object as the bytes of a Part 10 file; `name` is a file name of our own making."""

    kind: str
    name: str
    SOPClassUID: str
    SOPInstanceUID: str
    SeriesInstanceUID: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the file."""
        return hashlib.sha256(self.content).hexdigest()


def measure_regions(
    maps: Mapping[str, np.ndarray], regions: Regions, voxel_size_mm: Sequence[float], quality: Mapping[str, Any]
) -> list[RegionMeasurement]:
    """Return mean, spread and volume [ppm, ml] of the brain, label 0, and of every labelled region.

    Beside a learned map, also what speaks for and against each mean; `quality` is what `Quality.as_dict` gives.
    """
    dz, dy, dx = voxel_size_mm
    susceptibility, mask = torch.as_tensor(maps["susceptibility"]), torch.as_tensor(maps["mask"].astype(bool))
    everywhere = mask.to(torch.uint8)
    brain = with_trust(measure(susceptibility, everywhere, {1: BRAIN}, mask, (dz, dy, dx)), maps, everywhere.numpy())
    labelled: list[RegionMeasurement] = []
    if regions.labels is not None:
        labelled = measure(susceptibility, torch.as_tensor(regions.labels), dict(regions.names), mask, (dz, dy, dx))
        labelled = with_trust(labelled, maps, regions.labels, interval_scale(quality))
    return [*(replace(whole, label=0) for whole in brain), *labelled]


def make_objects(
    outcome: Outcome,
    source: SourceSeries,
    run: RunDescription,
    wanted: Wanted | None = None,
    twin: RunDescription | None = None,
) -> list[MadeObject]:
    """Return the objects of a run as validated Part 10 files, images first, documents last.

    Segmentation and reports refer to the images, so those are made in any case and left out only at the end.

    Parameters
    ----------
    outcome
        What the run has found.
    source
        What the maps were made of.
    run
        What made the maps.
    wanted
        Which objects; every usual one without it.
    twin
        What made the classical map beside a network's; without it that map is not written.

    Raises
    ------
    InvalidObject
        An object does not satisfy the standard; nothing of this run may be sent.
    """
    wanted = wanted or Wanted()
    making = _Making(outcome, source, run, wanted, twin)
    made = [(kind, dataset) for kind, dataset in making.everything() if kind in wanted.kinds]
    for _, dataset in made:
        validate(dataset)
    numbers: dict[str, int] = {}
    return [_finish(kind, dataset, numbers) for kind, dataset in made]


@dataclass(frozen=True)
class _Making:
    """Makes the objects of one run, each at most once and only where somebody wants it or refers to it."""

    outcome: Outcome
    source: SourceSeries
    run: RunDescription
    wanted: Wanted
    twin: RunDescription | None

    def everything(self) -> Made:
        """Yield the objects in the order of their kinds."""
        yield from ((ObjectKind.SUSCEPTIBILITY, image) for image in self.images)
        yield from self._classical()
        yield from self._companions()
        if ObjectKind.PARAMETRIC_MAP in self.wanted.kinds:
            values = self.outcome.maps["susceptibility"]
            yield (
                ObjectKind.PARAMETRIC_MAP,
                parametric_map(values, self.images, self.source, self.run, self.outcome.role),
            )
        yield from self._regions()
        yield from self._pages()

    @cached_property
    def images(self) -> list[Dataset]:
        """The susceptibility map: one image per slice, or one enhanced object."""
        return self._susceptibility("susceptibility", self.run, self.outcome.role)

    def _susceptibility(self, name: str, run: RunDescription, role: MapRole) -> list[Dataset]:
        values = to_ppb(self.outcome.maps[name])
        if self.wanted.as_source and self.source.is_enhanced:
            return [enhanced_susceptibility(values, self.source, run, role)]
        return susceptibility_series(values, self.source, run, role)

    @cached_property
    def segmentation(self) -> Dataset:
        """The brain mask and the regions."""
        mask, regions = self.outcome.maps["mask"].astype(bool), self.outcome.regions
        return segmentation(mask, regions.labels, regions.names, self.images, self.source, self.run)

    def _classical(self) -> Made:
        # Where the classical map stands for the network's it was written already.
        if self.twin is None or self.outcome.role != MapRole.LEARNED:
            return
        if CLASSICAL_SUSCEPTIBILITY in self.outcome.maps and ObjectKind.CLASSICAL in self.wanted.kinds:
            beside = self._susceptibility(CLASSICAL_SUSCEPTIBILITY, self.twin, MapRole.TWIN)
            yield from ((ObjectKind.CLASSICAL, image) for image in beside)

    def _companions(self) -> Made:
        for name in self.wanted.companions:
            kind = ObjectKind(name)
            values = self._companion_values(kind) if kind in self.wanted.kinds else None
            if values is not None:
                images = companion_series(Companion(name), values, self.source, self.run)
                yield from ((kind, image) for image in images)

    def _companion_values(self, kind: ObjectKind) -> np.ndarray | None:
        """Return a companion in the unit in which it is stored; None where this run has none."""
        found = self.outcome.maps.get(COMPANION_SERIES[kind])
        # A classical map in the network's place would be compared with itself.
        if found is None or (kind == ObjectKind.COMPARISON and self.outcome.role != MapRole.LEARNED):
            return None
        if kind == ObjectKind.LOCAL_FIELD:
            return to_hertz(found, self.source.magnetic_field_strength_t)
        if kind == ObjectKind.COMPARISON:
            return to_ppb(self.outcome.maps["susceptibility"]) - to_ppb(found)
        return to_ppb(found) if kind == ObjectKind.UNCERTAINTY else found

    def _regions(self) -> Made:
        outcome, kinds = self.outcome, self.wanted.kinds
        values, sentences = _region_values(outcome), report_sentences(outcome.quality)
        figures = outcome.quality["figures"]
        if ObjectKind.SEGMENTATION in kinds:
            yield ObjectKind.SEGMENTATION, self.segmentation
        if ObjectKind.REPORT in kinds:
            report = measurement_report(
                values, self.segmentation, self.images, self.source, self.run, figures, sentences
            )
            yield ObjectKind.REPORT, report
        if ObjectKind.PLANAR_REPORT in kinds:
            mask, labels = outcome.maps["mask"].astype(bool), outcome.regions.labels
            planar = planar_report(values, mask, labels, self.images, self.source, self.run, figures, sentences)
            yield ObjectKind.PLANAR_REPORT, planar

    def _pages(self) -> Made:
        outcome, kinds, source, run = self.outcome, self.wanted.kinds, self.source, self.run
        if ObjectKind.SUMMARY in kinds:
            labels, magnitude = outcome.regions.labels, outcome.magnitude
            pages = summary_pdf(outcome.maps, outcome.quality, outcome.measured, source, run, magnitude, labels)
            yield ObjectKind.SUMMARY, encapsulated_pdf(pages, SUMMARY_TITLE, self.images, source, run)
        if ObjectKind.PRESENTATION in kinds:
            yield ObjectKind.PRESENTATION, presentation_state(self.images, source, run)
        reasons = list(outcome.quality.get("warnings", ()))
        if ObjectKind.KEY_OBJECTS in kinds and reasons:
            yield ObjectKind.KEY_OBJECTS, key_object_selection(self.images, reasons, source, run)


def _region_values(outcome: Outcome) -> list[RegionValues]:
    regions = outcome.regions
    numbers = {segment.label: segment.number for segment in segments(regions.labels, regions.names)}
    return [
        RegionValues(
            name=region.name,
            mean=region.mean * PPB_PER_PPM,
            sd=region.sd * PPB_PER_PPM,
            median=region.median * PPB_PER_PPM,
            volume_ml=region.volume_ml,
            segment_number=numbers[region.label],
            trust=_trust_values(region),
        )
        for region in outcome.measured
        if region.label in numbers
    ]


def _trust_values(region: RegionMeasurement) -> TrustValues | None:
    if region.classical_mean is None:
        return None
    half_width = None if region.half_width is None else region.half_width * PPB_PER_PPM
    return TrustValues(region.classical_mean * PPB_PER_PPM, half_width, region.cone_share)


def _finish(kind: ObjectKind, dataset: Dataset, numbers: dict[str, int]) -> MadeObject:
    number = numbers[kind] = numbers.get(kind, 0) + 1
    return MadeObject(
        kind=kind.value,
        name=f"{kind.value}-{number:04d}.dcm",
        SOPClassUID=str(dataset.SOPClassUID),
        SOPInstanceUID=str(dataset.SOPInstanceUID),
        SeriesInstanceUID=str(dataset.SeriesInstanceUID),
        content=to_bytes(dataset),
    )
