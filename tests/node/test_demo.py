"""The demonstration never removes what is not its own, and its parts do what the whole one shows."""

from pathlib import Path

import numpy as np
import pytest

import db.series
from db.base import now
from db.series import JOURNEY, State
from db.series import Series as Row
from db.session import Database, migrate
from node import demo
from node.errors import InvalidSettings
from node.nifti import read_volume
from pipeline.simulation.scanner import SMALL


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")

    with pytest.raises(InvalidSettings, match="--out"):
        demo.prepare(tmp_path)

    assert (tmp_path / "thesis.txt").exists()


def test_a_former_demonstration_makes_room_for_the_next(tmp_path: Path) -> None:
    folders = demo.prepare(tmp_path / "demo")
    (folders.scanner / "image-00001.dcm").write_text("old")

    again = demo.prepare(tmp_path / "demo")

    assert list(again.scanner.iterdir()) == []


@pytest.mark.parametrize(
    ("state", "is_enqueued", "n_done"),
    [
        (State.RECEIVED, False, 0),
        (State.RECEIVED, True, 1),
        (State.ASSEMBLED, True, 2),
        (State.RECORDED, True, 7),
        (State.REFUSED, True, 0),
    ],
)
def test_the_words_behind_a_series_follow_its_state(state: State, is_enqueued: bool, n_done: int) -> None:
    series = Row(key="s-1", state=state, enqueued_at=now() if is_enqueued else None)

    assert demo.words_done(series) == JOURNEY[:n_done]


def test_of_several_series_the_one_that_leads_is_followed_until_all_have_ended(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'record.db'}")
    migrate(database.url)
    with database.begin() as session:
        first, second = (db.series.create(session, uid, "1.2", "SCANNER") for uid in ("1.3.1", "1.3.2"))
        db.series.change_state(session, first, State.JOINED)
        first_key, second_key = first.key, second.key
        db.series.change_state(session, second, State.IGNORED)
    scan = demo.Scan(demo.Scanner("", "", "", 2, 2), (), None, None)
    seen: list[str] = []
    assert demo.follow(database, scan, lambda row: seen.append(row.key)).key == second_key
    assert first_key not in seen
    database.close()


@pytest.mark.slow
def test_a_small_head_travels_in_two_series_from_the_scanner_to_the_archive(tmp_path: Path) -> None:
    folders = demo.prepare(tmp_path / "demo")
    progress: list[float] = []
    scan = demo.simulate(folders, progress.append, SMALL, "siemens_classic")
    states = []

    with (
        demo.running_archive(folders) as archive,
        demo.running_node(folders, archive.port, scan.simulated.label_names) as (settings, address),
    ):
        demo.send_scan(scan, address, progress.append)
        database = Database(settings.database_url)
        series = demo.follow(database, scan, lambda row: states.append(row.state))
        story = demo.collect(database, settings, folders, archive, scan, series)
        database.close()

    assert series.state == State.RECORDED, series.sentence
    assert story["scanner"]["name"] == "SIEMENS, Prisma_fit, syngo MR E11"
    assert (story["scanner"]["n_series"], story["scanner"]["n_objects"]) == (2, len(scan.paths))
    assert len(scan.paths) == 2 * 3 * SMALL.shape[0]
    assert progress[-1] == 1.0
    series_of_images = ("susceptibility", "local_field", "r2star")
    assert all(len(list(Path(story["results"][kind]).iterdir())) == SMALL.shape[0] for kind in series_of_images)
    documents = set(story["results"]) - {*series_of_images, "pages", "contact_sheet"}
    assert {"segmentation", "report", "planar_report", "summary", "presentation"} <= documents
    assert story["deliveries"][demo.ARCHIVE_AE]["delivered"] == 3 * SMALL.shape[0] + len(documents)
    assert Path(story["results"]["pages"]).read_bytes().startswith(b"%PDF-")
    assert Path(story["results"]["report"]).is_file()
    assert Path(story["results"]["contact_sheet"]).is_file()
    assert story["seal"]["is_intact"]
    assert story["nuclei"]
    assert story["coverage_percent"] > 80
    labels = read_volume(folders.site / demo.LABEL_MAP)
    np.testing.assert_array_equal(labels.values[0], scan.simulated.labels.numpy())
