"""The objects of a run are valid, refer to one another, and are the same bytes whenever they are made again."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dicom_io.read.reader import read_source
from dicom_io.series import SourceSeries
from node.journey.encoded import write_objects
from node.objects import ALL_KINDS, MadeObject, Regions, describe_run, make_objects, measure_regions, method_sentence
from pipeline.recipe import builtin_recipe
from tests.node import scans

QUALITY = {"mask_volume_ml": 12.5, "field_noise_median_ppb": 1.25}
SOFTWARE = {"lodestone": "0.1.0", "code_revision": "source-0123456789ab"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> SourceSeries:
    """Return the small scan as a source."""
    return read_source(scans.write(tmp_path_factory.mktemp("scan"), scans.instances()))


def maps() -> dict[str, np.ndarray]:
    susceptibility = np.zeros(scans.SHAPE, dtype=np.float32)
    susceptibility[6:10, 12:20, 12:20] = 0.05
    mask = np.zeros(scans.SHAPE, dtype=np.uint8)
    mask[2:14, 4:28, 4:28] = 1
    return {"susceptibility": susceptibility, "mask": mask}


def regions() -> Regions:
    labels = np.zeros(scans.SHAPE, dtype=np.int32)
    labels[6:10, 12:20, 12:20] = 3
    return Regions(labels, {3: "left caudate nucleus"})


def make(source: SourceSeries, chosen: Regions, kinds: tuple[str, ...] = ALL_KINDS) -> list[MadeObject]:
    description = describe_run(
        builtin_recipe("default"),
        SOFTWARE,
        "e" * 64,
        "whole brain",
        "LODESTONE",
        datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        research_use_only=True,
    )
    measured = measure_regions(maps(), chosen, source.geometry.voxel_size_mm)
    return make_objects(maps(), QUALITY, measured, chosen, source, description, kinds)


def test_one_image_per_slice_one_segmentation_and_one_report_are_made(source: SourceSeries) -> None:
    made = make(source, regions())
    assert [one.kind for one in made] == ["susceptibility"] * 16 + ["segmentation", "report"]
    assert made[0].name == "susceptibility-0001.dcm"
    for one in made:
        read = pydicom.dcmread(io.BytesIO(one.content))
        assert (read.SOPInstanceUID, read.SOPClassUID) == (one.SOPInstanceUID, one.SOPClassUID)


def test_the_same_run_makes_the_same_bytes(source: SourceSeries) -> None:
    first, second = make(source, regions()), make(source, regions())
    assert [one.sha256 for one in first] == [one.sha256 for one in second]


def test_the_report_holds_the_regions_value_in_ppb(source: SourceSeries) -> None:
    report = pydicom.dcmread(io.BytesIO(make(source, regions())[-1].content))
    group = next(item for item in _items(report) if "caudate" in _words(item))
    values = [
        (round(float(item.MeasuredValueSequence[0].NumericValue), 3), _unit(item))
        for item in _items(group)
        if item.ValueType == "NUM"
    ]
    assert (50.0, "ppb") in values
    assert any("ml" in unit for _, unit in values)


def _items(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    for inner in item.get("ContentSequence", []):
        yield inner
        yield from _items(inner)


def _words(item: pydicom.Dataset) -> str:
    """Return the words directly inside a measurement group."""
    if not any(inner.ValueType == "NUM" for inner in item.get("ContentSequence", [])):
        return ""
    codes = [
        inner.ConceptCodeSequence[0].CodeMeaning for inner in item.ContentSequence if "ConceptCodeSequence" in inner
    ]
    texts = [inner.TextValue for inner in item.ContentSequence if "TextValue" in inner]
    return " ".join([*codes, *texts]).lower()


def _unit(item: pydicom.Dataset) -> str:
    code = item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0]
    return f"{code.CodeMeaning} {code.CodeValue}".lower().replace("[", "").replace("]", "").split()[-1]


def test_only_what_is_wanted_is_made(source: SourceSeries) -> None:
    assert {one.kind for one in make(source, regions(), ("susceptibility",))} == {"susceptibility"}
    assert {one.kind for one in make(source, Regions(), ("report",))} == {"report"}


def test_every_method_is_named_with_its_source() -> None:
    sentence = method_sentence(builtin_recipe("default"))
    assert "phase unwrapping by romeo" in sentence
    assert "doi:" in sentence
    assert sentence.endswith(".")


def test_a_written_object_is_complete_or_absent(source: SourceSeries, tmp_path: Path) -> None:
    made = make(source, Regions(), ("susceptibility",))
    paths = write_objects(tmp_path / "outbox", made)
    assert [path.read_bytes() for path in paths] == [one.content for one in made]
    assert not list((tmp_path / "outbox").glob("*.part"))
