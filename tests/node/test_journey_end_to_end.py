"""A scanner's series comes back to an archive as a map, a segmentation and a report, and the record knows all of it."""

import io
from pathlib import Path

import numpy as np
import pydicom
import pytest

from db import provenance
from db.series import State
from node.app import build_services_from_file
from node.archive import EmbeddedArchive
from node.journey.received import retry
from pipeline.networks.weights import is_trained
from pipeline.recipe import builtin_recipe_text
from tests.node import scans
from tests.node.running import (
    all_series,
    events_of,
    listening,
    record_of,
    send_to_node,
    wait_for_the_end,
    working,
)
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.e2e

WORDS = ["received", "assembled", "reconstructed", "mapped", "encoded", "delivered", "recorded"]
BESIDE = ', "uncertainty", "comparison"'


@pytest.fixture
def archive(tmp_path: Path):
    """Run the small archive that results are sent to."""
    running = EmbeddedArchive(tmp_path / "archive")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def site(node_toml, archive):
    """Return the settings and collaborators of a node whose listener runs."""
    path = node_toml(port=free_port(), archive_port=archive.port)
    services = build_services_from_file(path)
    with listening(services):
        yield path, services
    services.close()


def objects_of(archive: EmbeddedArchive, modality: str) -> list[pydicom.Dataset]:
    held = [pydicom.dcmread(archive.folder / entry["file"]) for entry in archive.objects()]
    return [one for one in held if one.Modality == modality]


def maps_of(archive: EmbeddedArchive) -> list[pydicom.Dataset]:
    """Return the susceptibility images, learned and classical, without field, R2* and what else stands beside them."""
    return [one for one in objects_of(archive, "MR") if one.ImageType[3] == "QSM"]


def test_a_simulated_series_travels_the_seven_words(site, archive, tmp_path: Path) -> None:
    node_toml, services = site
    sent = scans.write(tmp_path / "scanner", scans.instances())
    with working(node_toml):
        send_to_node(services, sent)
        ended = wait_for_the_end(services)
    events = events_of(services, ended.key)
    assert [event for event in events if event in {f"series.{word}" for word in WORDS}] == [
        f"series.{word}" for word in WORDS
    ]
    maps, segmentations, reports = maps_of(archive), objects_of(archive, "SEG"), objects_of(archive, "SR")
    assert (len(maps), len(segmentations), len(reports)) == (scans.SHAPE[0], 1, 2)
    source = pydicom.dcmread(sent[0])
    assert {(one.PatientID, one.StudyInstanceUID) for one in maps + segmentations + reports} == {
        (source.PatientID, source.StudyInstanceUID)
    }
    known = record_of(services, ended.key)
    assert len(known["inputs"]) == len(sent)
    assert known["seal"]["is_intact"]
    assert known["peers"]["ARCHIVE"]["delivered"] == len(archive.objects())
    assert set(known["steps"]) == set(WORDS[1:])


def test_what_the_archive_holds_is_what_the_record_says(site, archive, tmp_path: Path) -> None:
    node_toml, services = site
    with working(node_toml):
        send_to_node(services, scans.write(tmp_path / "scanner", scans.instances()))
        ended = wait_for_the_end(services)
    known = record_of(services, ended.key)
    for output in known["outputs"]:
        made = (services.outbox / output["path"]).read_bytes()
        (entry,) = [one for one in archive.objects() if one["SOPInstanceUID"] == output["SOPInstanceUID"]]
        arrived = pydicom.dcmread(archive.folder / entry["file"])
        assert arrived == pydicom.dcmread(io.BytesIO(made))
        with services.database.read() as session:
            assert provenance.of_instance(session, output["SOPInstanceUID"])["run"] == known["run"]


@pytest.mark.golden
@pytest.mark.slow
def test_a_philips_head_comes_back_slice_by_slice_where_it_was(site, archive, data_dir: Path) -> None:
    node_toml, services = site
    sent = sorted((data_dir / "philips_ingenia_571_2echo_gre" / "classic").glob("*.dcm"))
    with working(node_toml):
        send_to_node(services, sent)
        ended = wait_for_the_end(services, within_s=300)
    assert ended.completeness == "complete by count: 2 echoes × 53 slices × magnitude and phase"
    positions = {
        tuple(map(float, pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient)) for path in sent
    }
    maps = maps_of(archive)
    returned = {tuple(map(float, one.ImagePositionPatient)) for one in maps}
    assert len(maps) == len(positions) == 53
    np.testing.assert_allclose(sorted(returned), sorted(positions), atol=1e-4)
    kinds = ("SEG", "SR", "DOC", "PR")
    assert [len(objects_of(archive, modality)) for modality in kinds] == [1, 2, 1, 1]
    assert {one.RescaleSlope for one in maps} == {1}
    spread = np.std(np.stack([one.pixel_array for one in maps])[np.stack([one.pixel_array for one in maps]) != 0])
    assert 5 < spread < 300


def test_two_halves_in_two_series_are_mapped_once(site, archive, tmp_path: Path) -> None:
    node_toml, services = site
    magnitude, phase = scans.split(scans.instances())
    with working(node_toml):
        send_to_node(services, scans.write(tmp_path / "phase", phase))
        send_to_node(services, scans.write(tmp_path / "magnitude", magnitude))
        both = [State.JOINED, State.RECORDED]
        eventually(lambda: sorted(one.state for one in all_series(services)) == both, 120, "the end of both halves")
    assert len(maps_of(archive)) == scans.SHAPE[0]


def test_a_magnitude_series_alone_is_refused_by_name_and_its_bytes_stay(node_toml, archive, tmp_path: Path) -> None:
    path = node_toml(port=free_port(), archive_port=archive.port, quiet_time_s=1.0)
    services = build_services_from_file(path)
    magnitude, _ = scans.split(scans.instances())
    with listening(services), working(path):
        send_to_node(services, scans.write(tmp_path / "magnitude", magnitude))
        ended = wait_for_the_end(services, State.REFUSED)
    assert ended.refusal_class == "PhaseMissing"
    assert events_of(services, ended.key)[-1] == "series.refused"
    assert len(list(services.inbox.names())) == len(magnitude)
    assert archive.objects() == []
    services.close()


def test_a_recipe_without_its_weights_refuses_once_loses_nothing_and_can_be_retried(
    node_toml, archive, tmp_path: Path
) -> None:
    # It says nothing of its own map, so there is neither interval nor comparison; and its file would be too large to be
    # kept, so it never has weights.
    assert not is_trained("qsmnet")
    recipe = tmp_path / "site" / "recipes" / "default.toml"
    recipe.parent.mkdir(parents=True)
    recipe.write_text(builtin_recipe_text("learned").replace('"lodestone_net"', '"qsmnet"').replace(BESIDE, ""))
    path = node_toml(port=free_port(), archive_port=archive.port, more='\n[recipes]\ndirectory = "recipes"\n')
    services = build_services_from_file(path)
    sent = scans.write(tmp_path / "scanner", scans.instances())
    with listening(services), working(path):
        send_to_node(services, sent)
        ended = wait_for_the_end(services, State.REFUSED)
        assert ended.refusal_class == "WeightsUnknown"
        assert "lodestone train qsmnet --export" in str(ended.sentence)
        assert events_of(services, ended.key).count("series.refused") == 1
        assert len(list(services.inbox.names())) == len(sent)
        assert archive.objects() == []
        recipe.unlink()
        retry(services, ended.key)
        eventually(
            lambda: [one.state for one in all_series(services)] == [State.RECORDED], 120, "the end of the second try"
        )
    assert len(maps_of(archive)) == scans.SHAPE[0]
    services.close()


@pytest.mark.skipif(not is_trained("lodestone_net"), reason="no weights of lodestone_net are stored")
def test_a_learned_map_or_the_classical_one_in_its_place_travels_with_digest_and_reason(
    node_toml, archive, tmp_path: Path
) -> None:
    path = node_toml(port=free_port(), archive_port=archive.port)
    path.write_text(path.read_text().replace('recipe = "default"', 'recipe = "learned"'))
    services = build_services_from_file(path)
    with listening(services), working(path):
        send_to_node(services, scans.write(tmp_path / "scanner", scans.instances()))
        ended = wait_for_the_end(services)
    known = record_of(services, ended.key)
    digest = known["quality"]["weights"]["lodestone_net"]
    assert known["seal"]["document"]["weights"] == {"lodestone_net": digest}
    maps = maps_of(archive)
    is_learned = known["quality"]["susceptibility_source"] == "learned"
    assert len(maps) == (2 if is_learned else 1) * scans.SHAPE[0]
    assert all(digest in one.DerivationDescription for one in maps)
    assert any("learned" in one.SeriesDescription for one in maps) == is_learned
    reports = objects_of(archive, "SR")
    assert len(reports) == 2
    assert all("lodestone_net" in report.to_json() for report in reports)
    services.close()
