"""Every kind of object from every scanner's headers: no error, no unexplained warning, one consistent study."""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_io.write.part10 import to_bytes
from dicom_io.write.validation import validate
from node.conformance_examples import example_objects
from node.conformance_sources import example_run, example_source
from node.object_kinds import COMPANION_KINDS, ObjectKind
from tests.golden.object_judges import GROUPS, Complaint, Verdict, judge, judge_together, listed_rows, unlisted
from tests.golden.vendor_sources import ENHANCED, FLAVOURS, HEADERS, READABLE, SIMULATED, source_files, vendor_source

pytestmark = pytest.mark.golden

# What dciodvfy must take each kind for; otherwise it would have checked another object than ours.
IOD = {
    **dict.fromkeys(GROUPS["images"], "MRImage"),
    ObjectKind.PARAMETRIC_MAP: "ParametricMap",
    ObjectKind.SEGMENTATION: "Segmentation",
    ObjectKind.REPORT: "Comprehensive3DSR",
    ObjectKind.PLANAR_REPORT: "Comprehensive3DSR",
    ObjectKind.SUMMARY: "EncapsulatedPDF",
    ObjectKind.PRESENTATION: "GrayscaleSoftcopyPresentationState",
    ObjectKind.KEY_OBJECTS: "KeyObjectSelectionDocument",
}
# A map of an enhanced source is a series of classic images, or one Enhanced MR image where the rule says so.
AS_SOURCE = " as source"
MAPS = (ObjectKind.SUSCEPTIBILITY, ObjectKind.CLASSICAL)
RUNS = (*FLAVOURS, *(f"{flavour}{AS_SOURCE}" for flavour in ENHANCED))
LISTED, LISTED_BETWEEN_OBJECTS = listed_rows(5), listed_rows(3)


@dataclass(frozen=True)
class Written:
    """One object and the file that holds it."""

    kind: str
    path: Path
    dataset: Dataset


@pytest.fixture(scope="module")
def written(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Written]]:
    """Return the function that writes everything a run on one scanner's headers delivers."""

    @cache
    def write(name: str) -> list[Written]:
        folder = tmp_path_factory.mktemp(name)
        flavour = name.removesuffix(AS_SOURCE)
        source = example_source() if flavour == SIMULATED else vendor_source(flavour, data_dir)
        assert source.is_enhanced == (flavour in ENHANCED)
        made = []
        for kind, objects in example_objects(source, example_run(), as_source=name != flavour).items():
            for number, dataset in enumerate(objects):
                path = folder / f"{kind}-{number:04d}.dcm"
                path.write_bytes(to_bytes(dataset))
                made.append(Written(kind, path, dataset))
        return made

    return write


@pytest.fixture(scope="module")
def verdicts(
    written: Callable[[str], list[Written]], program: Callable[[str], str]
) -> Callable[[str], list[tuple[Written, Verdict]]]:
    """Return the function that asks dciodvfy about the first object of every kind and the last image."""

    @cache
    def judged(name: str) -> list[tuple[Written, Verdict]]:
        # A companion is a series of classic images in either case.
        asked = [one for one in ends(written(name)) if AS_SOURCE not in name or one.kind not in COMPANION_KINDS]
        return [(one, judge(program("dciodvfy"), one.path, one.kind)) for one in asked]

    return judged


def ends(made: list[Written]) -> Iterator[Written]:
    """Yield the first object of every kind, and the last image of the map, which has another position."""
    for kind in dict.fromkeys(one.kind for one in made):
        of_kind = [one for one in made if one.kind == kind]
        yield of_kind[0]
        if kind == ObjectKind.SUSCEPTIBILITY and len(of_kind) > 1:
            yield of_kind[-1]


@pytest.mark.parametrize("name", RUNS)
def test_dciodvfy_finds_no_error_and_takes_every_object_for_what_it_is(
    name: str, verdicts: Callable[[str], list[tuple[Written, Verdict]]]
) -> None:
    for one, verdict in verdicts(name):
        assert verdict.errors == (), one.kind
        assert verdict.iod == ("EnhancedMRImage" if AS_SOURCE in name and one.kind in MAPS else IOD[one.kind])


@pytest.mark.parametrize("name", RUNS)
def test_every_warning_of_dciodvfy_is_listed_with_its_reason(
    name: str, verdicts: Callable[[str], list[tuple[Written, Verdict]]]
) -> None:
    found = {warning for _, verdict in verdicts(name) for warning in verdict.warnings}
    assert found
    assert unlisted(found, LISTED) == set()


@pytest.mark.parametrize("name", RUNS)
def test_our_own_check_before_release_accepts_every_object(name: str, written: Callable[[str], list[Written]]) -> None:
    for one in ends(written(name)):
        validate(one.dataset)


@pytest.mark.parametrize("name", RUNS)
def test_dcentvfy_finds_one_consistent_study_in_all_objects_of_a_run(
    name: str, written: Callable[[str], list[Written]], program: Callable[[str], str]
) -> None:
    verdict = judge_together(program("dcentvfy"), [one.path for one in written(name)])
    assert verdict.errors == ()
    assert unlisted(verdict.warnings, LISTED_BETWEEN_OBJECTS) == set()


@pytest.mark.parametrize("flavour", [*READABLE, *HEADERS])
def test_dcentvfy_finds_the_scanners_patient_and_study_in_the_results(
    flavour: str, data_dir: Path, written: Callable[[str], list[Written]], program: Callable[[str], str]
) -> None:
    # The first of every kind stands for all, which the test above has compared with one another.
    by_kind = {one.kind: one.path for one in reversed(written(flavour))}
    sources = source_files(flavour, data_dir)[:4]
    verdict = judge_together(program("dcentvfy"), [*sources, *by_kind.values()])
    assert verdict.errors == ()
    own = {(one.attribute, one.message) for one in judge_together(program("dcentvfy"), sources).warnings}
    ours = [one for one in verdict.warnings if (one.attribute, one.message) not in own]
    assert unlisted(ours, LISTED_BETWEEN_OBJECTS) == set()


@pytest.mark.parametrize("name", RUNS)
def test_dcmdump_parses_every_object_without_a_word(
    name: str, written: Callable[[str], list[Written]], program: Callable[[str], str]
) -> None:
    paths = [str(one.path) for one in written(name)]
    done = subprocess.run([program("dcmdump"), *paths], capture_output=True, timeout=120, check=False)
    assert done.stderr == b""
    assert done.returncode == 0
    assert done.stdout.count(b"(0008,0018) UI") == len(paths)


def test_every_kind_that_the_configuration_knows_is_judged() -> None:
    assert set(IOD) == set(ObjectKind) == set(example_objects(example_source(), example_run()))


def test_no_listed_warning_has_become_history(verdicts: Callable[[str], list[tuple[Written, Verdict]]]) -> None:
    found = [warning for name in RUNS for _, verdict in verdicts(name) for warning in verdict.warnings]
    assert [row for row in LISTED if not any(row.covers(warning) for warning in found)] == []


def test_a_warning_that_is_not_listed_is_seen() -> None:
    known = LISTED[0]
    assert unlisted([Complaint(known.attribute, "Something new", kind="report")], LISTED) != set()


@pytest.mark.parametrize("as_source", [False, True])
def test_the_same_run_gives_the_same_bytes_of_every_kind(as_source: bool) -> None:
    first, second = (example_objects(example_source(), example_run(), as_source=as_source) for _ in range(2))
    for kind, objects in first.items():
        assert [to_bytes(one) for one in objects] == [to_bytes(one) for one in second[kind]], kind
