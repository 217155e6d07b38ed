"""Every kind of object that the node makes, made by its writers from one source: what the statement is written from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from dicom_io.geometry import Geometry
from dicom_io.series import SourceFrame, SourceSeries
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report import RegionValues, TrustValues, measurement_report
from dicom_io.write.scanner import Examination, scanner_series
from dicom_io.write.segmentation import Segment, segmentation, segments
from node.object_kinds import ObjectKind

ECHO_TIMES_S = (0.004, 0.010, 0.016)
FIELD_T = 3.0
NAMES = {3: "left caudate nucleus", 7: "dentate nucleus R", 9: "subthalamic nucleus left"}
QUALITY = {"mask_volume_ml": 1200.5, "field_noise_median_ppb": 3.25, "r2star_median_per_s": 20.0, "n_echoes_used": 3.0}
SENTENCES = ("The map explains the field as far as its noise allows.", "The field is noisy (16.2 ppb).")
WEIGHTS = (("lodestone_net", "c" * 64),)


def example_run() -> RunDescription:
    """Return a run of a recipe with a network, since its objects hold everything that others hold."""
    return RunDescription(
        software_version="0.1.0",
        code_revision="source-0123456789ab",
        recipe_name="learned",
        recipe_digest="a" * 64,
        method_sentence="Phase unwrapping by romeo (Dymerska 2021, doi:10.1002/mrm.28563).",
        reference="whole brain mean",
        input_digest="b" * 64,
        device_uid="2.25.1234",
        node_ae_title="LODESTONE",
        performed_at=datetime(2026, 1, 1, 13, 30, 5, tzinfo=UTC),
        weights=WEIGHTS,
        map_sentence="This map is that of the network lodestone_net.",
    )


def example_source() -> SourceSeries:
    """Return a small acquisition of the simulated scanner, oblique and with three different voxel edges."""
    cosine, sine = np.cos(0.35), np.sin(0.35)
    geometry = Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, float(cosine), float(sine)),
        first_position=(-21.5, -20.25, -10.0),
        slice_step=(0.0, float(-2 * sine), float(2 * cosine)),
        pixel_spacing=(1.0, 1.5),
        shape=(4, 32, 30),
        frame_of_reference_uid="2.25.99",
    )
    shape = (len(ECHO_TIMES_S), *geometry.shape)
    images = scanner_series(
        np.ones(shape), np.zeros(shape), ECHO_TIMES_S, geometry, FIELD_T, Examination(seed="example")
    )
    template = images[0]
    del template.PixelData
    by_slice = [
        tuple(
            SourceFrame(MRImageStorage, str(image.SOPInstanceUID))
            for image in images
            if np.allclose([float(number) for number in image.ImagePositionPatient], geometry.position(index))
        )
        for index in range(geometry.shape[0])
    ]
    return SourceSeries(
        geometry=geometry,
        echo_times_s=ECHO_TIMES_S,
        magnetic_field_strength_t=FIELD_T,
        vendor="simulated",
        template=template,
        frames=tuple(by_slice),
        phase_scaling="slope 2 and intercept -4096, +/-4096 being +/-pi",
        is_enhanced=False,
    )


@dataclass(frozen=True)
class RunObjects:
    """All objects of one run; each property makes its kind when it is first asked for."""

    source: SourceSeries
    run: RunDescription

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
        """Three regions `(z, y, x)`, two of them side by side."""
        found = np.zeros(self.source.geometry.shape, np.int16)
        found[0:2, 6:10, 6:10] = 3
        found[0:2, 10:15, 10:13] = 7
        found[1:2, 15:19, 15:19] = 9
        return found

    @cached_property
    def segments(self) -> list[Segment]:
        """The brain and every region, as the segmentation numbers them."""
        return segments(self.labels, NAMES)

    @cached_property
    def images(self) -> list[Dataset]:
        """The susceptibility series."""
        return susceptibility_series(self.map_ppb(1), self.source, self.run, MapRole.LEARNED)

    @cached_property
    def twins(self) -> list[Dataset]:
        """The classical map beside it."""
        twin = replace(self.run, map_sentence="This is the classical map, kept beside the network's for comparison.")
        return susceptibility_series(0.9 * self.map_ppb(1), self.source, twin, MapRole.TWIN)

    @cached_property
    def regions(self) -> Dataset:
        """The segmentation."""
        return segmentation(self.mask, self.labels, NAMES, self.images, self.source, self.run)

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


MAKERS: Mapping[str, Callable[[RunObjects], Sequence[Dataset]]] = {
    ObjectKind.SUSCEPTIBILITY: lambda objects: objects.images,
    ObjectKind.CLASSICAL: lambda objects: objects.twins,
    ObjectKind.SEGMENTATION: lambda objects: [objects.regions],
    ObjectKind.REPORT: lambda objects: [objects.report],
}
"""How each kind of object is made; a kind that the configuration knows and this table lacks fails a test."""


def example_objects(source: SourceSeries, run: RunDescription) -> dict[str, list[Dataset]]:
    """Return every object of one run by its kind."""
    objects = RunObjects(source, run)
    return {kind: list(make(objects)) for kind, make in MAKERS.items()}
