"""From the UID of an object one finds every input, and from any of its UIDs the series behind it."""

from datetime import UTC, datetime

import pytest

from db import audit, deliveries, outputs, provenance, runs, series
from db.base import now
from db.errors import NotInRecord
from db.outputs import Output
from db.runs import Run
from db.session import Database


def add_run(database: Database, key: str, revision: int = 1, recipe_digest: str = "d" * 64) -> Run:
    with database.begin() as session:
        run = runs.begin(
            session,
            key,
            revision,
            inputs=[{"SOPInstanceUID": "1.1", "sha256": "a" * 64}],
            input_digest="b" * 64,
            acquisition={"b0_tesla": 3.0},
            recipe_name="default",
            recipe_text='name = "default"',
            recipe_digest=recipe_digest,
            software={"lodestone": "0.1.0"},
        )
        runs.record_step(run, "assembled", datetime(2026, 1, 1, tzinfo=UTC))
        for number, kind in enumerate(("susceptibility", "susceptibility", "segmentation", "report")):
            session.add(
                Output(
                    sop_instance_uid=f"2.25.{number}",
                    run_key=run.key,
                    series_instance_uid=f"2.25.9{number}",
                    sop_class_uid="1.2",
                    kind=kind,
                    sha256="c" * 64,
                    size=2**33,
                    path=f"{run.key}/{kind}-{number}.dcm",
                    created_at=now(),
                )
            )
        deliveries.plan(session, run.key, [(f"2.25.{number}", "report") for number in range(4)], {"PACS": None})
    return run


@pytest.fixture
def key(database: Database) -> str:
    """Add one series and return its key."""
    with database.begin() as session:
        return series.create(session, "1.2.3", "1.2", "SCANNER").key


def test_an_object_leads_back_to_its_inputs_recipe_and_on_to_its_peers(database: Database, key: str) -> None:
    add_run(database, key)
    with database.read() as session:
        known = provenance.of_instance(session, "2.25.1")
    assert known["object"]["kind"] == "susceptibility"
    assert known["object"]["size"] == 2**33
    assert known["inputs"] == [{"SOPInstanceUID": "1.1", "sha256": "a" * 64}]
    assert known["recipe"] == {"name": "default", "digest": "d" * 64, "text": 'name = "default"'}
    assert known["software"] == {"lodestone": "0.1.0"}
    assert known["steps"]["assembled"]["started_at"] == "2026-01-01T00:00:00+00:00"
    assert [made["kind"] for made in known["outputs"]] == ["susceptibility"] * 2 + ["segmentation", "report"]
    assert known["peers"]["PACS"]["pending"] == 4
    assert known["commitments"] == []
    assert known["seal"] is None


def test_an_object_of_somebody_else_is_unknown(database: Database) -> None:
    with pytest.raises(NotInRecord, match=r"2\.25\.99"), database.read() as session:
        provenance.of_instance(session, "2.25.99")


@pytest.mark.parametrize("text", ["key", "1.2.3", "2.25.93", "2.25.3"])
def test_a_series_is_found_by_its_key_and_by_every_uid_around_it(database: Database, key: str, text: str) -> None:
    add_run(database, key)
    with database.read() as session:
        assert [found.key for found in provenance.find_series(session, key if text == "key" else text)] == [key]
        assert provenance.find_series(session, "1.2.4") == []


def test_a_changed_seal_document_is_seen(database: Database, key: str) -> None:
    run = add_run(database, key)
    with database.begin() as session:
        held = session.get_one(Run, run.key)
        held.seal_document = audit.canonical({"inputs": ["a" * 64]})
        held.seal, held.sealed_at = audit.digest([held.seal_document]), now()
    with database.begin() as session:
        held = session.get_one(Run, run.key)
        assert provenance.seal(held)["is_intact"]
        held.seal_document = audit.canonical({"inputs": ["f" * 64]})
        assert not provenance.seal(held)["is_intact"]


def test_a_second_run_on_the_same_inputs_keeps_the_time_that_is_written_into_the_objects(
    database: Database, key: str
) -> None:
    first = add_run(database, key)
    same = add_run(database, key, revision=2)
    other = add_run(database, key, revision=3, recipe_digest="e" * 64)
    assert same.performed_at == first.performed_at
    assert other.performed_at > first.performed_at
    with database.read() as session:
        assert outputs.newest(session, "2.25.0").run_key == other.key
