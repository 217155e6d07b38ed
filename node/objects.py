"""The DICOM objects of one run, made from its maps: susceptibility images, segmentation and report, all validated."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import torch
from pydicom import Dataset

from dicom_io.series import SourceSeries
from dicom_io.write.identity import derived_uid
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.segmentation import segmentation, segments
from dicom_io.write.validation import validate
from node.convert import PPB_PER_PPM, to_ppb
from node.region_trust import interval_scale, with_trust
from pipeline.maps import CLASSICAL, CLASSICAL_SUSCEPTIBILITY
from pipeline.method import LEARNED_MAP_USED
from pipeline.methods import STEPS
from pipeline.recipe import Recipe
from pipeline.regions.measurements import RegionMeasurement, measure

SUSCEPTIBILITY, CLASSICAL_TWIN, SEGMENTATION, REPORT = "susceptibility", "classical", "segmentation", "report"
BRAIN = "Brain"
ALL_KINDS = (SUSCEPTIBILITY, CLASSICAL_TWIN, SEGMENTATION, REPORT)
CLASSICAL_INVERSION = next(iter(STEPS["dipole_inversion"].values()))
"""The method of the map that stands for a network's where a check fails; it is as smooth as the network's start."""


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
    quality: Mapping[str, Any],
    software: Mapping[str, str],
    input_digest: str,
    reference: str,
    node_ae_title: str,
    performed_at: datetime,
    research_use_only: bool,
) -> RunDescription:
    """Return a run in the words in which its objects describe it; `quality` is what `Quality.as_dict` gives."""
    weights = quality.get("weights", {})
    identity = [software["lodestone"], software["code_revision"], node_ae_title, *weights.values()]
    return RunDescription(
        software_version=software["lodestone"],
        code_revision=software["code_revision"],
        recipe_name=recipe.name,
        recipe_digest=recipe.digest,
        method_sentence=method_sentence(recipe, is_classical=is_fallback(quality)),
        reference=reference,
        input_digest=input_digest,
        device_uid=derived_uid("device", *identity),
        node_ae_title=node_ae_title,
        performed_at=performed_at,
        research_use_only=research_use_only,
        weights=tuple(sorted(weights.items())),
        map_sentence=map_sentence(quality),
    )


def describe_twin(recipe: Recipe, run: RunDescription) -> RunDescription:
    """Return a run in the words in which the classical map beside a network's describes it."""
    sentence = f"This is the classical map by {CLASSICAL_INVERSION.name}, kept beside the network's for comparison."
    return replace(run, method_sentence=method_sentence(recipe, is_classical=True), map_sentence=sentence)


def method_sentence(recipe: Recipe, is_classical: bool = False) -> str:
    """Name the method of every step and its source, in one sentence; a classical map's instead of a network's."""
    methods = {step: recipe.method_of(step) for step in recipe.steps}
    if is_classical:
        methods = {step: CLASSICAL_INVERSION if method.learned else method for step, method in methods.items()}
    named = [
        f"{step.replace('_', ' ')} by {method.name} ({method.citation})"
        for step, method in methods.items()
        if method.name != "none"
    ]
    return "; ".join(named) + "."


def is_fallback(quality: Mapping[str, Any]) -> bool:
    """Say whether a classical map stands where the recipe wanted a network's."""
    return bool(quality.get("weights")) and quality["susceptibility_source"] == CLASSICAL


def map_sentence(quality: Mapping[str, Any]) -> str:
    """Say whether a map is a network's, and why not where it is not; nothing for a recipe without a network."""
    named = ", ".join(sorted(quality.get("weights", {})))
    if not named:
        return ""
    if not is_fallback(quality):
        return f"This map is that of the network {named}."
    reasons = " ".join(_reasons(quality))
    instead = f"This map is the classical one by {CLASSICAL_INVERSION.name}, not that of the network {named}."
    return f"{instead} {reasons}".strip()


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
    maps: Mapping[str, np.ndarray],
    quality: Mapping[str, Any],
    measured: Sequence[RegionMeasurement],
    regions: Regions,
    source: SourceSeries,
    run: RunDescription,
    kinds: Sequence[str] = ALL_KINDS,
    twin: RunDescription | None = None,
) -> list[MadeObject]:
    """Return the objects of a run as validated Part 10 files, images first, report last.

    Segmentation and report refer to the images, so those are made in any case and left out only at the end.

    Parameters
    ----------
    maps
        Arrays by name, as `maps_artefact` gives them.
    quality
        What `Quality.as_dict` gives.
    measured, regions
        The regions and their values.
    source
        What the maps were made of.
    run
        What made the maps.
    kinds
        Which objects are wanted.
    twin
        What made the classical map beside a network's; without it that map is not written.

    Raises
    ------
    InvalidObject
        An object does not satisfy the standard; nothing of this run may be sent.
    """
    mask = maps["mask"].astype(bool)
    images = susceptibility_series(to_ppb(maps["susceptibility"]), source, run, _role(quality))
    made: list[tuple[str, Dataset]] = [(SUSCEPTIBILITY, image) for image in images]
    # Where the classical map stands for the network's it was written already.
    if twin is not None and CLASSICAL_SUSCEPTIBILITY in maps and _role(quality) == MapRole.LEARNED:
        beside = susceptibility_series(to_ppb(maps[CLASSICAL_SUSCEPTIBILITY]), source, twin, MapRole.TWIN)
        made += [(CLASSICAL_TWIN, image) for image in beside]
    if SEGMENTATION in kinds or REPORT in kinds:
        regions_object = segmentation(mask, regions.labels, regions.names, images, source, run)
        made.append((SEGMENTATION, regions_object))
        if REPORT in kinds:
            values = _region_values(measured, regions)
            figures, sentences = quality["figures"], report_sentences(quality)
            report = measurement_report(values, regions_object, images, source, run, figures, sentences)
            made.append((REPORT, report))
    wanted = [(kind, dataset) for kind, dataset in made if kind in kinds]
    for _, dataset in wanted:
        validate(dataset)
    numbers = dict.fromkeys(ALL_KINDS, 0)
    return [_finish(kind, dataset, numbers) for kind, dataset in wanted]


def _reasons(quality: Mapping[str, Any]) -> list[str]:
    """Return why a network's map was not used; that it was not is said elsewhere."""
    checks = [finding for finding in quality.get("findings", ()) if LEARNED_MAP_USED not in finding["figures"]]
    return [finding["sentence"] for finding in checks if finding["is_warning"]]


def report_sentences(quality: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know of a map: whose it is, the warnings, and which checks it passed."""
    checks = [finding for finding in quality.get("findings", ()) if LEARNED_MAP_USED not in finding["figures"]]
    passed = [finding["sentence"] for finding in checks if not finding["is_warning"]]
    whose = [map_sentence(quality)] if quality.get("weights") else []
    # Where the first sentence holds the reasons already, they are not said twice.
    said = _reasons(quality) if is_fallback(quality) else []
    return [*whose, *(sentence for sentence in quality.get("warnings", ()) if sentence not in said), *passed]


def _role(quality: Mapping[str, Any]) -> MapRole:
    if not quality.get("weights"):
        return MapRole.ONLY
    return MapRole.CLASSICAL if is_fallback(quality) else MapRole.LEARNED


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
            trust=_trust_values(region),
        )
        for region in measured
        if region.label in numbers
    ]


def _trust_values(region: RegionMeasurement) -> TrustValues | None:
    if region.classical_mean is None:
        return None
    half_width = None if region.half_width is None else region.half_width * PPB_PER_PPM
    return TrustValues(region.classical_mean * PPB_PER_PPM, half_width, region.cone_share)


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
