"""The objects of a run are valid, refer to one another, and are the same bytes whenever they are made again."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from dicom_io.read.reader import read_source
from dicom_io.series import SourceSeries
from dicom_io.write.provenance import RunDescription
from node.journey.encoded import write_objects
from node.object_kinds import ObjectKind
from node.objects import MadeObject, Outcome, Regions, Wanted, make_objects, measure_regions
from node.run_sentences import describe_run, describe_twin, method_sentence
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, SUSCEPTIBILITY_SPREAD, Quality
from pipeline.method import LEARNED_MAP_USED, Finding
from pipeline.recipe import builtin_recipe
from pipeline.regions.measurements import RegionMeasurement
from tests.node import scans

QUALITY = Quality({"mask_volume_ml": 12.5, "field_noise_median_ppb": 1.25}).as_dict()
WEIGHTS = {"lodestone_net": "9" * 64}
PASSED = Finding("noise", "The map explains the field as far as its noise allows.", {}, is_warning=False)
IS_USED = Finding("source", "The susceptibility is the network's.", {LEARNED_MAP_USED: 1.0}, is_warning=False)
FAILED = Finding("envelope", "Voxels of 4.0 mm are larger than any in the training.")
FELL_BACK = Finding("source", "The susceptibility is the classical map.", {LEARNED_MAP_USED: 0.0})
KINDS = (ObjectKind.SUSCEPTIBILITY, ObjectKind.CLASSICAL, ObjectKind.SEGMENTATION, ObjectKind.REPORT)
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


def learned_maps() -> dict[str, np.ndarray]:
    """Return the maps with the classical one 20 ppb lower in the nucleus, a spread of 4 ppb, and an empty cone."""
    made = maps()
    nucleus = made["susceptibility"] > 0
    return {
        **made,
        CLASSICAL_SUSCEPTIBILITY: np.where(nucleus, np.float32(0.03), np.float32(0)),
        SUSCEPTIBILITY_SPREAD: made["mask"] * np.float32(0.004),
        CONE_PART: 0 * made["susceptibility"],
    }


def learned_quality(findings: tuple[Finding, ...]) -> dict[str, Any]:
    warnings = tuple(finding.sentence for finding in findings if finding.is_warning)
    figures = {name: value for finding in findings for name, value in finding.figures.items()}
    return Quality(figures, ("The field is noisy.", *warnings), findings, WEIGHTS).as_dict()


def learned_run(findings: tuple[Finding, ...]) -> RunDescription:
    recipe, quality = builtin_recipe("learned"), learned_quality(findings)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return describe_run(recipe, quality, SOFTWARE, "e" * 64, "whole brain", "LODESTONE", moment, True)


def make_measured(source: SourceSeries) -> list[RegionMeasurement]:
    return measure_regions(learned_maps(), regions(), source.geometry.voxel_size_mm, learned_quality((PASSED, IS_USED)))


def make_learned(
    source: SourceSeries, findings: tuple[Finding, ...], kinds: tuple[str, ...] = KINDS
) -> list[MadeObject]:
    recipe, quality, run = builtin_recipe("learned"), learned_quality(findings), learned_run(findings)
    measured = make_measured(source)
    outcome = Outcome(learned_maps(), quality, measured, regions())
    return make_objects(outcome, source, run, Wanted(kinds), describe_twin(recipe, run))


def make_run() -> RunDescription:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return describe_run(
        builtin_recipe("default"), QUALITY, SOFTWARE, "e" * 64, "whole brain", "LODESTONE", moment, True
    )


def make(source: SourceSeries, chosen: Regions, kinds: tuple[str, ...] = KINDS) -> list[MadeObject]:
    measured = measure_regions(maps(), chosen, source.geometry.voxel_size_mm, QUALITY)
    return make_objects(Outcome(maps(), QUALITY, measured, chosen), source, make_run(), Wanted(kinds))


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


def read(made: MadeObject) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(made.content))


def test_beside_a_network_s_map_its_classical_twin_is_a_series_of_its_own(source: SourceSeries) -> None:
    made = make_learned(source, (PASSED, IS_USED))
    assert [one.kind for one in made] == ["susceptibility"] * 16 + ["classical"] * 16 + ["segmentation", "report"]
    learned, twin = read(made[7]), read(made[16 + 7])
    assert learned.SeriesInstanceUID != twin.SeriesInstanceUID
    assert (learned.pixel_array.max(), twin.pixel_array.max()) == (50, 30)
    assert "QSM learned" in learned.SeriesDescription
    assert "QSM classical" in twin.SeriesDescription
    assert "This map is that of the network lodestone_net." in learned.DerivationDescription
    assert "9" * 64 in learned.DerivationDescription
    assert "dipole inversion by weighted_tv" in twin.ContributingEquipmentSequence[1].ContributionDescription
    wanted = make_learned(source, (PASSED, IS_USED), ("susceptibility", "report"))
    assert {one.kind for one in wanted} == {"susceptibility", "report"}


def test_a_classical_map_in_the_network_s_place_is_sent_once_and_says_why(source: SourceSeries) -> None:
    made = make_learned(source, (FAILED, FELL_BACK))
    assert [one.kind for one in made] == ["susceptibility"] * 16 + ["segmentation", "report"]
    image = read(made[0])
    assert "QSM classical" in image.SeriesDescription
    assert "not that of the network lodestone_net. Voxels of 4.0 mm are larger" in image.ImageComments
    assert "dipole inversion by weighted_tv" in image.ContributingEquipmentSequence[1].ContributionDescription
    texts = [item.TextValue for item in _items(read(made[-1])) if "TextValue" in item]
    assert sum("Voxels of 4.0 mm" in text for text in texts) == 1
    assert any("The field is noisy." in text for text in texts)


def test_the_report_compares_each_region_with_the_classical_map(source: SourceSeries) -> None:
    report = read(make_learned(source, (PASSED, IS_USED))[-1])
    group = next(item for item in _items(report) if "caudate" in _words(item))
    values = {
        item.ConceptNameCodeSequence[0].CodeMeaning: float(item.MeasuredValueSequence[0].NumericValue)
        for item in _items(group)
        if item.ValueType == "NUM"
    }
    assert values["Magnetic susceptibility by the classical inversion"] == pytest.approx(30.0)
    assert values["Difference from the classical inversion"] == pytest.approx(20.0)
    assert values["Half width of the 90 percent interval of the mean"] == pytest.approx(4.0)
    assert values["Share of the contrast that the field hardly shows"] == 0.0
    texts = [item.TextValue for item in _items(report) if "TextValue" in item]
    assert PASSED.sentence in texts
    assert "This map is that of the network lodestone_net." in texts
    assert IS_USED.sentence not in texts


def test_other_weights_make_other_objects_and_another_device(source: SourceSeries) -> None:
    recipe, moment = builtin_recipe("learned"), datetime(2026, 1, 2, tzinfo=UTC)
    runs = [
        describe_run(
            recipe,
            Quality(weights={"lodestone_net": digit * 64}).as_dict(),
            SOFTWARE,
            "e" * 64,
            "csf",
            "AE",
            moment,
            True,
        )
        for digit in "12"
    ]
    assert runs[0].identity != runs[1].identity
    assert runs[0].device_uid != runs[1].device_uid


def test_a_written_object_is_complete_or_absent(source: SourceSeries, tmp_path: Path) -> None:
    made = make(source, Regions(), ("susceptibility",))
    paths = write_objects(tmp_path / "outbox", made)
    assert [path.read_bytes() for path in paths] == [one.content for one in made]
    assert not list((tmp_path / "outbox").glob("*.part"))


def test_a_recipe_s_companions_are_series_in_units_that_a_cursor_can_read(source: SourceSeries) -> None:
    recipe, run = builtin_recipe("learned"), learned_run((PASSED, IS_USED))
    field = np.full(scans.SHAPE, np.float32(0.1))
    found = {**learned_maps(), "local_field": field, "r2star": np.full(scans.SHAPE, np.float32(31.4))}
    outcome = Outcome(found, learned_quality((PASSED, IS_USED)), [], regions())
    made = make_objects(outcome, source, run, Wanted(companions=recipe.companions))
    middle = [one for one in made if one.name.endswith("-0008.dcm") and one.kind in recipe.companions]
    values = {one.kind: int(read(one).pixel_array.max()) for one in middle}
    hertz = round(0.1 * 42.577 * source.magnetic_field_strength_t)
    assert values == {"local_field": hertz, "r2star": 31, "uncertainty": 4, "comparison": 20}


def test_a_classical_map_in_the_network_s_place_is_not_compared_with_itself(source: SourceSeries) -> None:
    outcome = Outcome(learned_maps(), learned_quality((FAILED, FELL_BACK)), [], regions())
    made = make_objects(outcome, source, learned_run((FAILED, FELL_BACK)), Wanted(companions=("comparison",)))
    assert "comparison" not in {one.kind for one in made}


def test_every_kind_is_made_valid_and_twice_the_same(source: SourceSeries) -> None:
    found = {**learned_maps(), "local_field": learned_maps()["susceptibility"], "weighted_image": np.ones(scans.SHAPE)}
    outcome = Outcome(found, learned_quality((PASSED, IS_USED)), make_measured(source), regions())
    wanted = Wanted(tuple(ObjectKind), companions=("local_field", "swi", "uncertainty", "comparison"))
    twin = describe_twin(builtin_recipe("learned"), learned_run((PASSED, IS_USED)))
    first, second = (make_objects(outcome, source, learned_run((PASSED, IS_USED)), wanted, twin) for _ in range(2))
    assert {one.kind for one in first} == set(ObjectKind) - {"r2star"}
    assert [one.sha256 for one in first] == [one.sha256 for one in second]
    assert len({one.SOPInstanceUID for one in first}) == len(first)
    order = [list(ObjectKind).index(ObjectKind(one.kind)) for one in first]
    assert order == sorted(order)


def test_a_map_without_a_warning_is_not_flagged(source: SourceSeries) -> None:
    run = make_run()
    made = make_objects(Outcome(maps(), QUALITY, [], regions()), source, run, Wanted(("key_objects", "presentation")))
    assert [one.kind for one in made] == ["presentation"]


def test_an_enhanced_source_gets_one_enhanced_object_where_the_rule_asks_for_it(source: SourceSeries) -> None:
    kinds = ("susceptibility", "segmentation", "report", "planar_report", "presentation", "parametric_map")
    outcome = Outcome(maps(), QUALITY, [], regions())
    enhanced = replace(source, is_enhanced=True)
    for wanted, n_images in ((Wanted(kinds, as_source=True), 1), (Wanted(kinds), scans.SHAPE[0])):
        made = make_objects(outcome, enhanced, make_run(), wanted)
        images = [read(one) for one in made if one.kind == "susceptibility"]
        assert len(images) == n_images
        referenced = {uid for one in made if one.kind != "susceptibility" for uid in referenced_uids(read(one))}
        assert {image.SOPInstanceUID for image in images} <= referenced
    classic = make_objects(outcome, source, make_run(), Wanted(kinds, as_source=True))
    assert sum(one.kind == "susceptibility" for one in classic) == scans.SHAPE[0]


def referenced_uids(dataset: pydicom.Dataset) -> set[str]:
    return {str(element.value) for element in dataset.iterall() if element.keyword == "ReferencedSOPInstanceUID"}
