"""The DICOM objects of one run, made from its maps: susceptibility images, segmentation and report, all validated."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import torch
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.identity import derived_uid
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, measurement_report
from dicom_io.write.segmentation import segmentation, segments
from dicom_io.write.validation import validate
from node.convert import PPB_PER_PPM, to_ppb
from pipeline.recipe import Recipe
from pipeline.regions.measurements import RegionMeasurement, measure

SUSCEPTIBILITY, SEGMENTATION, REPORT = "susceptibility", "segmentation", "report"
BRAIN = "Brain"
ALL_KINDS = (SUSCEPTIBILITY, SEGMENTATION, REPORT)


@dataclass(frozen=True)
class Regions:
    """Labels `(z, y, x)` on the series' grid with their names; without labels only the brain mask is a region."""

    labels: np.ndarray | None = None
    names: Mapping[int, str] = field(default_factory=dict)


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


def describe_run(
    recipe: Recipe,
    software: Mapping[str, str],
    input_digest: str,
    reference: str,
    node_ae_title: str,
    performed_at: datetime,
    research_use_only: bool,
) -> RunDescription:
    """Return a run in the words in which its objects describe it."""
    identity = [software["lodestone"], software["code_revision"], node_ae_title]
    return RunDescription(
        software_version=software["lodestone"],
        code_revision=software["code_revision"],
        recipe_name=recipe.name,
        recipe_digest=recipe.digest,
        method_sentence=method_sentence(recipe),
        reference=reference,
        input_digest=input_digest,
        device_uid=derived_uid("device", *identity),
        node_ae_title=node_ae_title,
        performed_at=performed_at,
        research_use_only=research_use_only,
    )


def method_sentence(recipe: Recipe) -> str:
    """Name the method of every step and its source, in one sentence."""
    named = [
        f"{step.replace('_', ' ')} by {recipe.method_of(step).name} ({recipe.method_of(step).citation})"
        for step in recipe.steps
        if recipe.method_of(step).name != "none"
    ]
    return "; ".join(named) + "."


def measure_regions(
    maps: Mapping[str, np.ndarray], regions: Regions, voxel_size_mm: Sequence[float]
) -> list[RegionMeasurement]:
    """Return mean, spread and volume [ppm, ml] of the brain, label 0, and of every labelled region."""
    dz, dy, dx = voxel_size_mm
    susceptibility, mask = torch.as_tensor(maps["susceptibility"]), torch.as_tensor(maps["mask"].astype(bool))
    brain = measure(susceptibility, mask.to(torch.uint8), {1: BRAIN}, mask, (dz, dy, dx))
    labelled: list[RegionMeasurement] = []
    if regions.labels is not None:
        labelled = measure(susceptibility, torch.as_tensor(regions.labels), dict(regions.names), mask, (dz, dy, dx))
    return [*(replace(whole, label=0) for whole in brain), *labelled]


def make_objects(
    maps: Mapping[str, np.ndarray],
    quality: Mapping[str, float],
    measured: Sequence[RegionMeasurement],
    regions: Regions,
    source: SourceSeries,
    run: RunDescription,
    kinds: Sequence[str] = ALL_KINDS,
) -> list[MadeObject]:
    """Return the objects of a run as validated Part 10 files, images first, report last.

    Segmentation and report refer to the images, so those are made in any case and left out only at the end.

    Raises
    ------
    InvalidObject
        An object does not satisfy the standard; nothing of this run may be sent.
    """
    mask = maps["mask"].astype(bool)
    images = susceptibility_series(to_ppb(maps["susceptibility"]), source, run)
    made: list[tuple[str, Dataset]] = [(SUSCEPTIBILITY, image) for image in images]
    if SEGMENTATION in kinds or REPORT in kinds:
        regions_object = segmentation(mask, regions.labels, regions.names, images, source, run)
        made.append((SEGMENTATION, regions_object))
        if REPORT in kinds:
            values = _region_values(measured, regions)
            made.append((REPORT, measurement_report(values, regions_object, images, source, run, quality)))
    wanted = [(kind, dataset) for kind, dataset in made if kind in kinds]
    for _, dataset in wanted:
        validate(dataset)
    numbers = dict.fromkeys(ALL_KINDS, 0)
    return [_finish(kind, dataset, numbers) for kind, dataset in wanted]


def _region_values(measured: Sequence[RegionMeasurement], regions: Regions) -> list[RegionValues]:
    numbers = {segment.label: segment.number for segment in segments(regions.labels, regions.names)}
    return [
        RegionValues(
            name=region.name,
            mean=region.mean * PPB_PER_PPM,
            sd=region.sd * PPB_PER_PPM,
            median=region.median * PPB_PER_PPM,
            volume_ml=region.volume_ml,
            segment_number=numbers[region.label],
        )
        for region in measured
        if region.label in numbers
    ]


def _finish(kind: str, dataset: Dataset, numbers: dict[str, int]) -> MadeObject:
    numbers[kind] += 1
    return MadeObject(
        kind=kind,
        name=f"{kind}-{numbers[kind]:04d}.dcm",
        SOPClassUID=str(dataset.SOPClassUID),
        SOPInstanceUID=str(dataset.SOPInstanceUID),
        SeriesInstanceUID=str(dataset.SeriesInstanceUID),
        content=to_bytes(dataset),
    )
