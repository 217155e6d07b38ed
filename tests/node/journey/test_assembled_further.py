"""A series that rules map by two recipes is two maps in the record: opened together, each with a journey of its own."""

from collections.abc import Iterator

import pytest

from db import audit, provenance, runs, series
from db.series import Series, State
from node import worker
from node.app import build_services_from_file
from node.journey import assembled, received
from node.services import Services
from tests.node import scans

ALL = '[routing]\nmatch = "all"\n[[rules]]\nname = "study"\nrecipe = "v_sharp_tv"\ndestinations = ["ARCHIVE"]\n'


@pytest.fixture
def services(node_toml) -> Iterator[Services]:
    """Return the collaborators of a node with two rules that both want every series."""
    built = build_services_from_file(node_toml(more=ALL))
    yield built
    built.close()


def arrive(services: Services, images: list) -> str:
    for image in images:
        receipt = received.receive(services, scans.store(services, image), "SCANNER")
    return receipt.series_key


def assemble(services: Services, images: list) -> tuple[str, str]:
    """Let a series arrive and be assembled, and return the keys of it and of its further map."""
    key = arrive(services, images)
    received.step(key, services)
    assembled.step(key, services)
    (further,) = further_of(services, key)
    return key, further.key


def further_of(services: Services, key: str) -> list[Series]:
    with services.database.read() as session:
        return series.further_maps(session, key)


def held(services: Services, key: str) -> Series:
    with services.database.read() as session:
        return series.get(session, key)


def move(services: Services, key: str, *states: State) -> None:
    with services.database.begin() as session:
        for state in states:
            series.change_state(session, series.get(session, key), state)


LATER = (State.RECONSTRUCTED, State.MAPPED, State.ENCODED, State.DELIVERED, State.RECORDED)


def test_both_maps_are_assembled_from_the_same_instances_by_their_own_recipes(services: Services) -> None:
    key, further = assemble(services, scans.instances())
    assembled.step(further, services)
    with services.database.read() as session:
        first, second = runs.get(session, key, 1), runs.get(session, further, 1)
        assert (first.recipe_name, second.recipe_name) == ("default", "v_sharp_tv")
        assert first.input_digest == second.input_digest
        assert [row.event for row in audit.list_events(session, further)] == ["series.received", "series.assembled"]
        uid = scans.instances()[0].SeriesInstanceUID
        assert [one.key for one in provenance.find_series(session, uid)] == [key, further]
        assert [one.key for one in provenance.find_series(session, further)] == [further]
        about = provenance.of_run(session, second)["series"]
    assert about["SeriesInstanceUID"] == uid
    assert [(one["key"], one["recipe"]) for one in about["beside"]] == [(key, "default")]
    assert held(services, further).workflow_id == f"map-{further}-r1"
    assert services.jobs.status(f"map-{further}-r1") == "ENQUEUED"


def test_assembling_twice_opens_one_further_map(services: Services) -> None:
    key, further = assemble(services, scans.instances())
    assembled.step(key, services)
    received.step(further, services)
    assert [one.key for one in further_of(services, key)] == [further]
    assert held(services, further).revision == 1


def test_a_late_image_begins_both_anew_and_the_further_one_waits_for_its_series(services: Services) -> None:
    images = scans.instances()
    key, further = assemble(services, images)
    assembled.step(further, services)
    late = images[0]
    late.SOPInstanceUID = "2.25.4711"
    arrive(services, [late])
    assert [(held(services, one).state, held(services, one).revision) for one in (key, further)] == [
        ("received", 2)
    ] * 2
    assert held(services, further).completeness == f"waits for {key} to be assembled"
    with services.database.read() as session:
        assert [one.key for one in series.waiting(session)] == [key]


def test_what_ends_a_series_ends_the_further_map_that_waits_for_it(services: Services, monkeypatch) -> None:
    images = scans.instances()
    key, further = assemble(services, images)
    images[0].SOPInstanceUID = "2.25.4711"
    arrive(services, images[:1])
    monkeypatch.setattr(worker._Holder, "services", services)
    worker.end(key, 2, State.REFUSED, "DuplicateSlice", "Two images claim one place.")
    ended = held(services, further)
    assert (ended.state, ended.refusal_class) == (State.REFUSED, "DuplicateSlice")
    assert ended.sentence == f"Its series {key} was refused: Two images claim one place."


def test_asking_for_a_series_once_more_repeats_it_alone(services: Services) -> None:
    key, further = assemble(services, scans.instances())
    assembled.step(further, services)
    for one in (key, further):
        move(services, one, *LATER)
    received.retry(services, key)
    assembled.step(key, services)
    assert (held(services, key).revision, held(services, further).revision) == (2, 1)
    assert held(services, further).state == State.RECORDED
    received.retry(services, further)
    assembled.step(further, services)
    assert (held(services, further).state, held(services, further).revision) == (State.ASSEMBLED, 2)


def test_a_further_map_that_was_never_assembled_is_tried_with_its_series(services: Services, monkeypatch) -> None:
    key, further = assemble(services, scans.instances())
    monkeypatch.setattr(worker._Holder, "services", services)
    worker.end(further, 1, State.REFUSED, "UnknownMethod", "There is no recipe 'v_sharp_tv'.")
    move(services, key, *LATER)
    received.retry(services, key)
    assembled.step(key, services)
    assert (held(services, further).state, held(services, further).revision) == (State.RECEIVED, 2)
    assert services.jobs.status(f"map-{further}-r2") == "ENQUEUED"


def test_a_further_map_that_no_rule_asks_for_any_more_is_ignored_on_purpose(services: Services) -> None:
    images = scans.instances()
    key, further = assemble(services, images)
    extra = images[0]
    extra.SOPInstanceUID = "2.25.4711"
    arrive(services, [extra])
    with services.database.begin() as session:
        assembled.open_further(session, services, series.get(session, key), ())
    ended = held(services, further)
    assert (ended.state, ended.refusal_class) == (State.IGNORED, "NoRuleMatches")
    assert "no rule asks" in ended.sentence
