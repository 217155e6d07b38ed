"""The record's commands print what a person needs and, with --json, all of it and nothing else."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import db.audit
import db.commitments
import db.deliveries
import db.runs
import db.series
from db.base import now
from db.commitments import CommitmentState
from db.deliveries import DeliveryState, Evidence
from db.outputs import Output
from db.series import State
from db.session import Database, migrate
from node.cli import main
from node.commands.record import print_run
from node.settings import load_settings
from node.site import write_site

UID = "1.2.826.0.1.3680043.2.1.5"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the settings of a site whose record holds one refused series of 40 instances."""
    write_site(tmp_path, allowed=("SCANNER",))
    path = tmp_path / "node.toml"
    url = load_settings(path).database_url
    migrate(url)
    database = Database(url)
    with database.begin() as session:
        series = db.series.create(session, UID, "1.2.3", "SCANNER")
        for number in range(40):
            db.audit.append(session, "instance.received", series.key, {"number": number})
        db.series.change_state(session, series, State.REFUSED, sentence="Echo 3 lacks slices 17–19.", refusal_class="X")
    database.close()
    return path


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lodestone", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(monkeypatch, *words) == 0
    return capsys.readouterr().out


def test_list_shows_where_a_series_is_and_why(config: Path, monkeypatch, capsys) -> None:
    text = printed(monkeypatch, capsys, "list", "-c", str(config))

    assert "refused" in text
    assert "Echo 3 lacks slices 17–19." in text


def test_list_can_be_narrowed_to_a_state(config: Path, monkeypatch, capsys) -> None:
    assert len(json.loads(printed(monkeypatch, capsys, "list", "-c", str(config), "--json"))) == 1
    assert json.loads(printed(monkeypatch, capsys, "list", "--state", "recorded", "-c", str(config), "--json")) == []


def test_show_finds_a_series_by_its_uid_and_tells_its_events(config: Path, monkeypatch, capsys) -> None:
    story = json.loads(printed(monkeypatch, capsys, "show", UID, "-c", str(config), "--json"))

    assert story["state"] == "refused"
    assert [event["event"] for event in story["events"]][-1] == "series.refused"
    assert len(story["events"]) == 42


def test_many_events_alike_are_shortened_for_people_only(config: Path, monkeypatch, capsys) -> None:
    text = printed(monkeypatch, capsys, "audit", "-c", str(config))

    assert "… 38 more …" in text
    assert text.count("instance.received") == 2
    assert len(json.loads(printed(monkeypatch, capsys, "audit", "-c", str(config), "--json"))) == 42


def test_a_changed_row_of_the_audit_ends_verification_with_one(config: Path, monkeypatch, capsys) -> None:
    assert "are as they were written" in printed(monkeypatch, capsys, "audit", "--verify", "-c", str(config))
    # Somebody with the file in hands can take away what holds the table, but not mend the chain.
    with closing(sqlite3.connect(config.parent / "lodestone.db")) as file, file:
        for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            file.execute(f'DROP TRIGGER "{name}"')
        file.execute("UPDATE lodestone_audit SET details = '{}' WHERE number = 7")

    assert run(monkeypatch, "audit", "--verify", "-c", str(config)) == 1
    assert "Row 7" in capsys.readouterr().out


def test_an_unknown_series_is_a_sentence_and_exit_code_one(config: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "show", "nothing", "-c", str(config), "--json") == 1

    captured = capsys.readouterr()
    assert json.loads(captured.out)["error"]["class"] == "UnknownSeries"
    assert "Traceback" not in captured.err


def test_an_object_made_elsewhere_has_no_provenance_here(config: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, "provenance", "1.2.3.4", "-c", str(config)) == 1
    assert "NotInRecord" in capsys.readouterr().err


def test_list_show_and_audit_know_every_map_of_a_series(config: Path, monkeypatch, capsys) -> None:
    database = Database(load_settings(config).database_url)
    with database.begin() as session:
        (first,) = db.series.list_series(session)
        further = db.series.create_further(session, first, "v_sharp_tv")
    database.close()
    rows = json.loads(printed(monkeypatch, capsys, "list", "-c", str(config), "--json"))
    assert [(row["key"], row["series_instance_uid"]) for row in rows] == [(further.key, UID), (first.key, UID)]
    text = printed(monkeypatch, capsys, "show", UID, "-c", str(config))
    assert f"as {further.key} by recipe v_sharp_tv: received" in text
    assert f"as {first.key} by recipe" in text
    events = json.loads(printed(monkeypatch, capsys, "audit", "--series", UID, "-c", str(config), "--json"))
    assert {event["subject"] for event in events} == {first.key, further.key}
    assert [event["number"] for event in events] == list(range(1, 44))
    assert len(json.loads(printed(monkeypatch, capsys, "audit", "--limit", "3", "-c", str(config), "--json"))) == 3


def test_a_retried_series_is_received_once_more(config: Path, monkeypatch, capsys) -> None:
    assert json.loads(printed(monkeypatch, capsys, "retry", UID, "-c", str(config), "--json"))["retried"]

    (series,) = json.loads(printed(monkeypatch, capsys, "list", "-c", str(config), "--json"))
    assert (series["state"], series["revision"]) == ("received", 2)


def test_a_run_with_a_network_shows_weights_whose_map_it_is_and_each_region_s_doubts(capsys) -> None:
    passed = {"name": "noise", "sentence": "The map explains the field.", "figures": {}, "is_warning": False}
    quality = {
        "figures": {"learned_map_used": 1.0},
        "warnings": ["The field is noisy."],
        "findings": [passed],
        "weights": {"lodestone_net": "a" * 64},
        "susceptibility_source": "learned",
    }
    nucleus = {"name": "red nucleus", "mean": 0.05, "sd": 0.01, "median": 0.05, "volume_ml": 0.2}
    record = {
        "outputs": [],
        "peers": {},
        "commitments": [],
        "recipe": {"name": "learned", "digest": "b" * 64},
        "inputs": [],
        "input_digest": "c" * 64,
        "software": {"lodestone": "0"},
        "device": "cpu",
        "quality": quality,
        "seal": None,
        "regions": [
            {**nucleus, "name": "Brain"},
            {**nucleus, "classical_mean": 0.042, "half_width": 0.0041, "cone_share": 0.175},
        ],
    }
    print_run(record)
    text = " ".join(capsys.readouterr().out.split())
    assert f"lodestone_net, SHA-256 {'a' * 64}" in text
    assert "map learned" in text
    assert "check The map explains the field." in text
    assert "red nucleus 50.0 10.0 50.0 0.20 42.0 8.0 4.1 17.5" in text


@pytest.fixture
def delivering(config: Path) -> Path:
    """Let the record hold a second series: one peer has committed to part, another does not take the report."""
    database = Database(load_settings(config).database_url)
    made = [("2.25.1", "susceptibility"), ("2.25.2", "susceptibility"), ("2.25.3", "report")]
    with database.begin() as session:
        held = db.series.create(session, "1.2.4", "1.2.3", "SCANNER")
        for word in db.series.JOURNEY[1:5]:
            db.series.change_state(session, held, word)
        columns = {"input_digest": "b", "recipe_name": "default", "recipe_text": "", "recipe_digest": "d"}
        run = db.runs.begin(session, held.key, 1, quality={}, software={}, **columns)
        db.deliveries.plan(session, run.key, made, {"PACS": None, "RESEARCH": {"susceptibility", "report"}})
        asked = db.commitments.plan(session, "2.25.9", run.key, "PACS", ["2.25.1", "2.25.2"], now())
        asked.state, asked.n_committed, asked.n_failed = CommitmentState.ANSWERED, 1, 1
        for row in db.deliveries.of_run(session, run.key):
            row.accept()
        committed, _, report, *others = db.deliveries.of_run(session, run.key)
        committed.deliver(Evidence.COMMITTED)
        report.deliver(Evidence.FOUND)
        others[2].end(DeliveryState.REFUSED, "RESEARCH: the peer takes no report.")
        db.deliveries.plan(session, run.key, made[:1], {"DOWN": None})
        db.deliveries.one(session, run.key, "DOWN", "2.25.1").sentence = "DOWN cannot be reached."
    database.close()
    return config


def test_list_tells_what_an_encoded_series_waits_for(delivering: Path, monkeypatch, capsys) -> None:
    text = " ".join(printed(monkeypatch, capsys, "list", "--state", "encoded", "-c", str(delivering)).split())

    assert "accepted, not yet committed" in text
    assert "DOWN: 1 pending (DOWN cannot be reached.)" in text
    (row,) = json.loads(printed(monkeypatch, capsys, "list", "--state", "encoded", "-c", str(delivering), "--json"))
    assert (row["peers"]["PACS"]["committed"], row["peers"]["PACS"]["accepted"]) == (1, 1)
    assert row["peers"]["RESEARCH"]["refused_kinds"] == ["report"]


def test_show_tells_for_each_peer_what_is_proved_and_what_is_refused(delivering: Path, monkeypatch, capsys) -> None:
    text = " ".join(printed(monkeypatch, capsys, "show", "1.2.4", "-c", str(delivering)).split())

    assert "2 delivered (1 committed, 1 found by query), 1 accepted, not yet committed" in text
    assert "2 accepted, not yet committed, 1 refused (report)" in text
    assert "RESEARCH: the peer takes no report." in text
    assert "PACS: 2 objects asked for, 1 committed, 1 not, answered" in text


def test_retry_tells_how_the_series_had_ended(config: Path, monkeypatch, capsys) -> None:
    text = printed(monkeypatch, capsys, "retry", UID, "-c", str(config))

    assert "was refused. Echo 3 lacks slices 17–19." in text


@pytest.fixture
def revised(delivering: Path) -> Path:
    """Let an image come late, after the map was made, and the series be mapped once more."""
    database = Database(load_settings(delivering).database_url)
    with database.begin() as session:
        (held,) = db.series.list_series(session, "encoded")
        first = db.runs.get(session, held.key, 1)
        session.add(
            Output(
                sop_instance_uid="2.25.1",
                run_key=first.key,
                series_instance_uid="2.25.8",
                sop_class_uid="1.2",
                kind="susceptibility",
                sha256="",
                size=1,
                path="",
            )
        )
        db.series.reopen(session, held, "an instance arrived after the work had begun")
        columns = {"input_digest": "c", "recipe_name": "default", "recipe_text": "", "recipe_digest": "d"}
        db.runs.begin(
            session, held.key, 2, inputs=[{"SOPInstanceUID": "1.2.9"}], software={}, acquisition={}, **columns
        )
    database.close()
    return delivering


def test_a_late_image_s_revision_and_the_map_before_it_are_both_listed(revised: Path, monkeypatch, capsys) -> None:
    assert "2 after 1" in printed(monkeypatch, capsys, "list", "--state", "received", "-c", str(revised))
    (row,) = json.loads(printed(monkeypatch, capsys, "list", "--state", "received", "-c", str(revised), "--json"))
    assert row["revision"] == 2
    assert [(one["revision"], one["made"], one["n_inputs"]) for one in row["revisions"]] == [
        (1, {"susceptibility": 1}, 0),
        (2, {}, 1),
    ]


def test_show_tells_what_each_revision_has_made(revised: Path, monkeypatch, capsys) -> None:
    (row,) = json.loads(printed(monkeypatch, capsys, "list", "--state", "received", "-c", str(revised), "--json"))
    text = " ".join(printed(monkeypatch, capsys, "show", row["key"], "-c", str(revised)).split())
    assert "made 1 × susceptibility" in text
    assert "revision 2 the present one" in text
    story = json.loads(printed(monkeypatch, capsys, "show", row["key"], "-c", str(revised), "--json"))
    assert [one["revision"] for one in story["revisions"]] == [1, 2]


def test_whoever_reads_the_record_does_not_wait_for_the_mathematics() -> None:
    asked = "import sys, node.commands.record; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, timeout=120, check=True)
    assert answer.stdout.strip() == "False"
