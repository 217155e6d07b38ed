"""Damaged headers of every simulated scanner and of real series: never another acquisition, never a surprise."""

import random
from pathlib import Path

import pytest

from dicom_io.errors import ContradictoryHeader, GeometryUnusable
from dicom_io.read.reader import read_source
from node.reading_study.judgement import CRASHED, MISREAD, Court, checks
from node.reading_study.mutations import KINDS, Damager
from node.reading_study.study import judged, opened
from node.reading_study.subjects import encoded, phantom_scan, simulated_subjects

SEED = 20
COUNT = 100


@pytest.fixture(scope="module")
def courts(tmp_path_factory: pytest.TempPathFactory) -> list[Court]:
    return opened(simulated_subjects(), tmp_path_factory.mktemp("subjects"))


def test_every_flavour_is_read_as_what_was_scanned(courts: list[Court]) -> None:
    for court in courts:
        found = checks(court, phantom_scan())
        assert "refusal" not in found, found
        wrong = [name for name, value in found.items() if value is False]
        assert not wrong, (court.name, wrong)
        assert float(found["phase_error_rad"]) < 0.01


def test_no_damaged_header_is_misread(courts: list[Court]) -> None:
    verdicts = [judged(courts, number, SEED) for number in range(COUNT)]
    assert [verdict for verdict in verdicts if verdict.outcome in (MISREAD, CRASHED)] == []
    assert len({verdict.kind for verdict in verdicts}) == len(KINDS)
    assert 0.2 < sum(verdict.outcome == "refused" for verdict in verdicts) / COUNT < 0.9


def test_a_reader_that_turned_the_phase_would_be_called_misreading(courts: list[Court]) -> None:
    court, other = courts[0], courts[4]
    assert other.truth is not None
    other.truth.phase[:] *= -1
    try:
        outcome, reason = other._compared(court.truth, "")
    finally:
        other.truth.phase[:] *= -1
    assert outcome == MISREAD
    assert "phase" in reason


def test_equal_seeds_damage_equally() -> None:
    subject = simulated_subjects()[0]
    first, second = (Damager(subject).mutation(random.Random("3 7")) for _ in range(2))
    assert (first.kind, first.description) == (second.kind, second.description)
    assert first.changed == second.changed


@pytest.mark.parametrize(("keyword", "value"), [("ImagePositionPatient", "1e30"), ("PixelSpacing", "1000")])
def test_a_scan_of_many_metres_is_refused_at_once(tmp_path: Path, keyword: str, value: str) -> None:
    subject = next(item for item in simulated_subjects() if item.name == "siemens_classic")
    paths = [tmp_path / f"{number}.dcm" for number in range(len(subject.objects))]
    for number, (path, dataset) in enumerate(zip(paths, subject.objects, strict=True)):
        if keyword == "PixelSpacing" or number == 1:
            dataset[keyword].value = [value] * dataset[keyword].VM
        path.write_bytes(encoded(dataset))
    with pytest.raises(GeometryUnusable, match=keyword[:5]):
        read_source(paths)


def test_a_manufacturer_whose_private_elements_are_another_ones_is_refused(tmp_path: Path) -> None:
    subject = next(item for item in simulated_subjects() if item.name == "philips_enhanced_complex")
    subject.objects[0].Manufacturer = "GE MEDICAL SYSTEMS"
    path = tmp_path / "renamed.dcm"
    path.write_bytes(encoded(subject.objects[0]))
    with pytest.raises(ContradictoryHeader, match="a Philips scanner"):
        read_source([path])


def test_bits_stored_that_contradict_the_high_bit_are_refused(tmp_path: Path) -> None:
    subject = next(item for item in simulated_subjects() if item.name == "siemens_enhanced")
    subject.objects[0].BitsStored = 8
    path = tmp_path / "cut.dcm"
    path.write_bytes(encoded(subject.objects[0]))
    with pytest.raises(ContradictoryHeader, match="Bits Stored"):
        read_source([path])
