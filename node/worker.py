"""The worker: launches the durable engine with its queues and limits, and recovers what a killed worker left behind.

Run as `python -m node.worker -c node.toml`. A worker that starts under the executor id of a dead one takes up its work
at the step where it stopped; steps that had finished are not run again.
"""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import structlog
from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

import db.errors
import node.errors
from db import series
from db.series import State
from node import app, engine, log
from node.completeness_sweep import Sweep
from node.journey import delivered
from node.journey.assembled_further import end_waiting_further
from node.journey.order import AFTER_SENDING, IN_THE_WORKER
from node.series_attributes import reason_to_ignore
from node.services import Services

# One worker per GPU; a second one on the same machine needs an id of its own.
EXECUTOR_VARIABLE = "LODESTONE_EXECUTOR_ID"
DEFAULT_EXECUTOR = "worker-0"
# A series that kills its worker every time is put aside after this many starts.
MAX_RECOVERY_ATTEMPTS = 4
ATTEMPTS_PER_STEP = 3
FIRST_PAUSE_S = 2.0
PAUSE_GROWTH = 3.0
DELIVERIES_AT_ONCE = 4
QUEUE_POLL_S = 0.2
PERMANENT = (*node.errors.PERMANENT, db.errors.Permanent)
TRANSIENT = (*node.errors.TRANSIENT, db.errors.Transient, OSError)
DONE, ENDED = "done", "ended"

logger = structlog.get_logger()
_STEPS = {step.word.value: step for step in (*IN_THE_WORKER, *AFTER_SENDING)}


class _Holder:
    """The services of this process; the engine hands nothing but plain arguments to workflows."""

    services: Services | None = None


def services() -> Services:
    """Return the services of this worker."""
    if _Holder.services is None:
        raise RuntimeError("The worker has not been started.")
    return _Holder.services


@DBOS.step(
    name="run_step",
    retries_allowed=True,
    max_attempts=ATTEMPTS_PER_STEP,
    interval_seconds=FIRST_PAUSE_S,
    backoff_rate=PAUSE_GROWTH,
    should_retry=lambda error: isinstance(error, TRANSIENT),
)
def run_step(word: str, key: str, revision: int) -> str:
    """Run one word of the journey; a permanent refusal ends the series here, anything transient is tried again."""
    with services().database.read() as session:
        current = series.get(session, key)
        if current.revision != revision or current.state in series.ENDS:
            return ENDED
    logger.info("step.started", step=word, series_key=key, revision=revision)
    try:
        _STEPS[word].run(key, services())
    except db.errors.Superseded:
        return ENDED
    except PERMANENT as error:
        _refuse_or_ignore(key, revision, error)
        return ENDED
    logger.info("step.ended", step=word, series_key=key, revision=revision)
    return DONE


def _refuse_or_ignore(key: str, revision: int, error: Exception) -> None:
    """End a series that cannot be mapped: as ignored where it never was to be, else as refused."""
    reason = reason_to_ignore(services(), key, error)
    state = State.IGNORED if reason else State.REFUSED
    end(key, revision, state, type(error).__name__, reason or str(error))


@DBOS.step(name="run_attempt", retries_allowed=True, max_attempts=ATTEMPTS_PER_STEP, interval_seconds=FIRST_PAUSE_S)
def run_attempt(key: str, revision: int, peer: str, number: int) -> str:
    """Try to deliver to one peer; a peer's refusal is no error here but a later attempt."""
    delivered.attempt(key, revision, peer, number, services())
    return DONE


@DBOS.step(name="end_series", retries_allowed=True, max_attempts=ATTEMPTS_PER_STEP, interval_seconds=FIRST_PAUSE_S)
def end_series(key: str, revision: int, error_class: str, sentence: str) -> None:
    """Record that a series failed."""
    end(key, revision, State.FAILED, error_class, sentence)


@DBOS.workflow(name=engine.MAP_WORKFLOW, max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def map_series(key: str, revision: int) -> str:
    """Take a series from `received` to `encoded`, and further where nobody is to receive it."""
    return _run(key, revision, [step.word.value for step in (*IN_THE_WORKER, *AFTER_SENDING)])


@DBOS.workflow(name=engine.DELIVER_WORKFLOW, max_recovery_attempts=MAX_RECOVERY_ATTEMPTS)
def deliver_to_peer(key: str, revision: int, peer: str, number: int) -> str:
    """Try one peer once, and conclude the series if that was the last delivery."""
    outcome = _guarded(key, revision, lambda: run_attempt(key, revision, peer, number))
    return outcome if outcome != DONE else _run(key, revision, [step.word.value for step in AFTER_SENDING])


def _run(key: str, revision: int, words: Sequence[str]) -> str:
    for word in words:
        outcome = _guarded(key, revision, partial(run_step, word, key, revision))
        if outcome != DONE:
            return outcome
    return DONE


def _guarded(key: str, revision: int, action: Callable[[], str]) -> str:
    try:
        return action()
    except Exception as error:  # noqa: BLE001  the worker's loop: whatever fails must be seen in the series' state
        return _fail(key, revision, error)


def _fail(key: str, revision: int, error: Exception) -> str:
    """Put a series aside as failed; a person can ask for a new try."""
    cause = (getattr(error, "errors", None) or [error])[-1]
    logger.error("series.failed", series_key=key, error_class=type(cause).__name__, where=log.place_of(cause))
    if isinstance(cause, (*PERMANENT, *TRANSIENT)) and not isinstance(cause, OSError):
        sentence = str(cause)
    else:
        # The text of a foreign exception may quote what was received.
        sentence = f"An unexpected {type(cause).__name__} at {log.place_of(cause)}; report it with the worker's log."
    end_series(key, revision, type(cause).__name__, sentence)
    return ENDED


def end(key: str, revision: int, state: State, error_class: str, sentence: str) -> None:
    """End a series as refused, ignored or failed, unless it has moved on meanwhile."""
    with services().database.begin() as session:
        current = series.get(session, key)
        if current.revision != revision or current.state in series.ENDS:
            return
        details = {"during": current.state}
        series.change_state(session, current, state, details, sentence, error_class)
        end_waiting_further(session, current)
    say = logger.info if state == State.IGNORED else logger.warning
    say(f"series.{state}", series_key=key, revision=revision, error_class=error_class)


def launch(built: Services) -> None:
    """Start the engine in this process; its queues are polled by threads of it."""
    _Holder.services = built
    config: DBOSConfig = {
        "name": engine.APPLICATION,
        "system_database_url": engine.engine_url(built.settings.database_url),
        "application_version": engine.APPLICATION_VERSION,
        "executor_id": os.environ.get(EXECUTOR_VARIABLE, DEFAULT_EXECUTOR),
        "serializer": DBOSPortableJSONSerializer(),
        "log_level": "WARNING",
        "run_migrations": False,
        "enable_otlp": False,
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(engine.MAPPING_QUEUE, worker_concurrency=1, polling_interval_sec=QUEUE_POLL_S)
    DBOS.register_queue(engine.DELIVERY_QUEUE, worker_concurrency=DELIVERIES_AT_ONCE, polling_interval_sec=QUEUE_POLL_S)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Work until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m node.worker", description="Map and deliver what was received.")
    parser.add_argument("-c", "--config", type=Path, required=True, help="the node's settings (node.toml)")
    options = parser.parse_args(arguments)
    log.configure()
    logging.getLogger("dbos").setLevel(logging.WARNING)
    built = app.build_services_from_file(options.config)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    built.workspace.remove_unfinished()
    launch(built)
    sweep = Sweep(built, end)
    sweep.start()
    logger.info("worker.started", pid=os.getpid())
    stop.wait()
    sweep.stop()
    logger.info("worker.stopped", pid=os.getpid())
    # Steps may be running. Taking their database away would make them fail; ending at once is what recovery is for.
    os._exit(0)


if __name__ == "__main__":
    main()
