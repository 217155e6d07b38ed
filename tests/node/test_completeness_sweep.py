"""The sweep begins what is complete by itself, and makes a dead job visible."""

from db import audit, series
from db.series import State
from node import worker
from node.completeness_sweep import Sweep
from node.journey import received
from node.services import Services
from tests.node import scans
from tests.waiting import eventually


def receive_all(services: Services) -> str:
    receipts = [received.receive(services, scans.store(services, image), "SCANNER") for image in scans.instances()]
    return receipts[0].series_key


def state_of(services: Services, key: str) -> series.Series:
    with services.database.read() as session:
        return series.get(session, key)


def test_a_complete_series_is_found_without_being_told(services: Services) -> None:
    key = receive_all(services)
    sweep = Sweep(services, lambda *what: None)
    sweep.start()
    eventually(lambda: state_of(services, key).enqueued_at, 20, "the start of the work")
    sweep.stop()


def test_a_series_whose_job_is_dead_is_failed_where_a_person_sees_it(services: Services, monkeypatch) -> None:
    monkeypatch.setattr(worker._Holder, "services", services)
    key = receive_all(services)
    sweep = Sweep(services, worker.end)
    sweep.look()
    sweep.look_at_jobs()
    assert state_of(services, key).state == State.RECEIVED
    services.jobs.client.cancel_workflow(state_of(services, key).workflow_id)
    sweep.look_at_jobs()
    failed = state_of(services, key)
    assert (failed.state, failed.refusal_class) == (State.FAILED, "JobEnded")
    assert "cancelled" in failed.sentence
    with services.database.read() as session:
        assert audit.list_events(session, key)[-1].event == "series.failed"


def test_a_late_end_of_an_old_revision_changes_nothing(services: Services, monkeypatch) -> None:
    monkeypatch.setattr(worker._Holder, "services", services)
    key = receive_all(services)
    with services.database.begin() as session:
        series.reopen(session, series.get(session, key), "an instance came late")
    worker.end(key, 1, State.FAILED, "ChildDied", "The mapping process died.")
    assert state_of(services, key).state == State.RECEIVED
