"""Every kind of object that the node makes, made by its writers from one source: what the statement is written from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO

import numpy as np
from pydicom import Dataset
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from dicom_io.series import SourceSeries
from dicom_io.write.companions import Companion, companion_series
from dicom_io.write.enhanced_mr import enhanced_susceptibility
from dicom_io.write.key_objects import key_object_selection
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.planar_report import planar_report
from dicom_io.write.presentation import presentation_state
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.segmentation import Segment, segmentation, segments
from dicom_io.write.summary import encapsulated_pdf
from node.object_kinds import ObjectKind

NAMES = {3: "left caudate nucleus", 7: "dentate nucleus R", 9: "subthalamic nucleus left"}
OTHER_NAMES = {3: "right putamen", 7: "red nucleus L"}
QUALITY = {"mask_volume_ml": 1200.5, "field_noise_median_ppb": 3.25, "r2star_median_per_s": 20.0, "n_echoes_used": 3.0}
SENTENCES = ("The map explains the field as far as its noise allows.", "The field is noisy (16.2 ppb).")


@dataclass(frozen=True)
class RunObjects:
    """All objects of one run; each property makes its kind when it is first asked for."""

    source: SourceSeries
    run: RunDescription
    names: Mapping[int, str]
    as_source: bool = False

    def map_ppb(self, seed: int, spread: float = 80.0) -> np.ndarray:
        """Return a made-up map `(z, y, x)` [ppb] with a known pattern."""
        return np.random.default_rng(seed).normal(0.0, spread, self.source.geometry.shape)

    @cached_property
    def mask(self) -> np.ndarray:
        """A box `(z, y, x)` that leaves an edge free on every side that has room for one."""
        found = np.zeros(self.source.geometry.shape, bool)
        found[:, 5:-5, 5:-5] = True
        return found

    @cached_property
    def labels(self) -> np.ndarray:
        """A box `(z, y, x)` for every name, side by side, the last in one slice only."""
        found = np.zeros(self.source.geometry.shape, np.int16)
        for number, label in enumerate(self.names):
            edge = 6 + 4 * number
            found[0 if label != max(self.names) else 1 : 2, edge : edge + 4, edge : edge + 3] = label
        return found

    @cached_property
    def segments(self) -> list[Segment]:
        """The brain and every region, as the segmentation numbers them."""
        return segments(self.labels, self.names)

    @cached_property
    def images(self) -> list[Dataset]:
        """The susceptibility series, or one enhanced object."""
        return self._written(self.map_ppb(1), self.run, MapRole.LEARNED)

    @cached_property
    def twins(self) -> list[Dataset]:
        """The classical map beside it."""
        twin = replace(self.run, map_sentence="This is the classical map, kept beside the network's for comparison.")
        return self._written(0.9 * self.map_ppb(1), twin, MapRole.TWIN)

    def _written(self, values: np.ndarray, run: RunDescription, role: MapRole) -> list[Dataset]:
        if self.as_source:
            return [enhanced_susceptibility(values, self.source, run, role)]
        return susceptibility_series(values, self.source, run, role)

    @cached_property
    def regions(self) -> Dataset:
        """The segmentation."""
        return segmentation(self.mask, self.labels, self.names, self.images, self.source, self.run)

    @cached_property
    def values(self) -> list[RegionValues]:
        """The values of every segment, with and without an interval."""
        ppb = self.map_ppb(1)
        inside = {item.number: self.mask if item.label == 0 else self.labels == item.label for item in self.segments}
        voxel_ml = float(np.prod(self.source.geometry.voxel_size_mm)) / 1000
        found = []
        for item in self.segments:
            chosen = ppb[inside[item.number]]
            trust = TrustValues(0.9 * float(chosen.mean()), 4.5 if item.label else None, 0.12 if item.label else None)
            mean, sd, median = float(chosen.mean()), float(chosen.std()), float(np.median(chosen))
            found.append(RegionValues(item.name, mean, sd, median, chosen.size * voxel_ml, item.number, trust))
        return found

    @cached_property
    def report(self) -> Dataset:
        """The report that refers to segments."""
        return measurement_report(self.values, self.regions, self.images, self.source, self.run, QUALITY, SENTENCES)

    @cached_property
    def planar_report(self) -> Dataset:
        """The report that draws outlines."""
        drawn = (self.values, self.mask, self.labels, self.images)
        return planar_report(*drawn, self.source, self.run, QUALITY, SENTENCES)

    @cached_property
    def summary(self) -> Dataset:
        """A page with nothing on it, in the place of the printed one."""
        content = BytesIO()
        page = Canvas(content, pagesize=A4, invariant=1)
        page.showPage()
        page.save()
        return encapsulated_pdf(content.getvalue(), "Susceptibility of the brain", self.images, self.source, self.run)

    def companion(self, kind: Companion) -> list[Dataset]:
        """Return one of the maps beside the susceptibility; most cannot be negative."""
        values = self.map_ppb(2, spread=20.0)
        return companion_series(kind, np.abs(values), self.source, self.run)


def _companion(kind: Companion) -> Callable[[RunObjects], Sequence[Dataset]]:
    return lambda objects: objects.companion(kind)


MAKERS: Mapping[str, Callable[[RunObjects], Sequence[Dataset]]] = {
    ObjectKind.SUSCEPTIBILITY: lambda objects: objects.images,
    ObjectKind.CLASSICAL: lambda objects: objects.twins,
    **{ObjectKind(kind.value): _companion(kind) for kind in Companion},
    ObjectKind.PARAMETRIC_MAP: lambda objects: [
        parametric_map(objects.map_ppb(1) / 1000, objects.images, objects.source, objects.run)
    ],
    ObjectKind.SEGMENTATION: lambda objects: [objects.regions],
    ObjectKind.REPORT: lambda objects: [objects.report],
    ObjectKind.PLANAR_REPORT: lambda objects: [objects.planar_report],
    ObjectKind.SUMMARY: lambda objects: [objects.summary],
    ObjectKind.PRESENTATION: lambda objects: [presentation_state(objects.images, objects.source, objects.run)],
    ObjectKind.KEY_OBJECTS: lambda objects: [
        key_object_selection(objects.images, SENTENCES, objects.source, objects.run)
    ],
}
"""How each kind of object is made; a kind that the configuration knows and this table lacks fails a test."""


def example_objects(
    source: SourceSeries, run: RunDescription, names: Mapping[int, str] | None = None, as_source: bool = False
) -> dict[str, list[Dataset]]:
    """Return every object of one run by its kind.

    `names` are those of the labelled regions; `as_source` writes the maps as Enhanced MR.
    """
    objects = RunObjects(source, run, names or NAMES, as_source)
    return {kind: list(make(objects)) for kind, make in MAKERS.items()}
