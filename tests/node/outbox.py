"""A series that has been encoded, with small real objects in the outbox, and its deliveries looked at job by job."""

import hashlib
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pydicom
from pydicom.uid import MRImageStorage

from db import audit, commitments, deliveries, dispatches, outputs, runs, series
from db.base import now
from db.deliveries import Delivery
from db.outputs import Output
from db.series import ENDS, JOURNEY, Series, State
from node.journey import delivered, recorded
from node.services import Services
from tests.dicom_io.network.conftest import write_image
from tests.waiting import eventually

STUDY, SERIES = "2.25.1001", "2.25.1002"
PEER = "ARCHIVE"
COLUMNS = {"input_digest": "b", "recipe_name": "default", "recipe_text": "", "recipe_digest": "d", "software": {}}


class Encoded:
    """One encoded series and its line of jobs to `ARCHIVE`."""

    def __init__(self, services: Services, kinds: dict[str, str] | None = None, n_images: int = 3) -> None:
        """Write `n_images` susceptibility images, and one object of each of `kinds` (SOP class by kind)."""
        self.services = services
        made = [("susceptibility", str(MRImageStorage))] * n_images + list((kinds or {}).items())
        with services.database.begin() as session:
            held = series.create(session, "1.2.3", STUDY, "SCANNER")
            held.destinations = [PEER]
            self.key = held.key
            self.run_key = runs.begin(session, held.key, 1, **COLUMNS).key
            folder = services.outbox / self.run_key
            folder.mkdir()
            rows = [
                _output(self.run_key, kind, sop_class, folder / f"{kind}-{number}.dcm")
                for number, (kind, sop_class) in enumerate(made)
            ]
            session.add_all(rows)
            self.uids = [row.sop_instance_uid for row in rows]
            wanted = {PEER: services.settings.kinds_for(PEER)}
            deliveries.plan(session, self.run_key, [(row.sop_instance_uid, row.kind) for row in rows], wanted)
            for word in JOURNEY[1 : JOURNEY.index(State.ENCODED) + 1]:
                series.change_state(session, held, word)

    def look(self, number: int | None = None) -> None:
        """Do what a worker does in one job: the newest of the line where no number is given."""
        with self.services.database.begin() as session:
            newest = max(1, dispatches.of(session, self.run_key, PEER).job_number)
        delivered.attempt(self.key, 1, PEER, number or newest, self.services)
        delivered.step(self.key, self.services)
        recorded.step(self.key, self.services)

    def look_until_final(self, within_s: float = 20) -> None:
        """Look again and again, as the jobs of the line do, without their pauses."""

        def is_final() -> bool:
            self.look()
            return self.series().state in ENDS

        eventually(is_final, within_s, "the end of the deliveries")

    def let_time_pass(self, minutes: float) -> None:
        """Move the clock of every request and acceptance back."""
        span = timedelta(minutes=minutes)
        with self.services.database.begin() as session:
            for one in commitments.of_run(session, self.run_key):
                one.answer_by = one.answer_by - span if one.answer_by else None
            for row in deliveries.of_run(session, self.run_key):
                row.accepted_at = row.accepted_at - span if row.accepted_at else None

    def rows(self) -> list[Delivery]:
        """Return the deliveries."""
        with self.services.database.read() as session:
            return deliveries.of_run(session, self.run_key)

    def states(self) -> Counter[str]:
        """Return how many deliveries are in each state."""
        return Counter(str(row.state) for row in self.rows())

    def evidence(self) -> Counter[str | None]:
        """Return how many deliveries rest on what."""
        return Counter(row.evidence for row in self.rows())

    def series(self) -> Series:
        """Return the series."""
        with self.services.database.read() as session:
            return series.get(session, self.key)

    def events(self) -> list[str]:
        """Return the audit's events; the chain is checked."""
        with self.services.database.read() as session:
            assert audit.verify(session).is_intact
            return [row.event for row in audit.list_events(session)]

    def details(self, event: str) -> dict:
        """Return the details of the last event of that name."""
        with self.services.database.read() as session:
            return [row.details for row in audit.list_events(session) if row.event == event][-1]

    def transactions(self) -> list[commitments.Commitment]:
        """Return the transactions of storage commitment."""
        with self.services.database.read() as session:
            return commitments.of_run(session, self.run_key)

    def next_job(self) -> tuple[int, str | None]:
        """Return the number of the newest job and what the engine says of it."""
        with self.services.database.begin() as session:
            number = dispatches.of(session, self.run_key, PEER).job_number
        return number, self.services.jobs.status(self.services.jobs.delivery_id(self.key, 1, PEER, number))

    def delay_s(self, number: int) -> float:
        """Return in how many seconds the engine begins a job."""
        client, name = self.services.jobs.client, self.services.jobs.delivery_id(self.key, 1, PEER, number)
        (job,) = client.list_workflows(workflow_ids=[name], load_input=False, load_output=False)
        return job.delay_until_epoch_ms / 1000 - now().timestamp()

    def files(self) -> list[Path]:
        """Return the files in the outbox."""
        with self.services.database.read() as session:
            return [self.services.outbox / made.path for made in outputs.of_run(session, self.run_key)]


def _output(run_key: str, kind: str, sop_class: str, path: Path) -> Output:
    write_image(path, sop_class=sop_class)
    image = pydicom.dcmread(path)
    image.StudyInstanceUID, image.SeriesInstanceUID = STUDY, SERIES
    image.save_as(path)
    content = path.read_bytes()
    return Output(
        sop_instance_uid=str(image.SOPInstanceUID),
        run_key=run_key,
        series_instance_uid=SERIES,
        sop_class_uid=sop_class,
        kind=kind,
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        path=f"{run_key}/{path.name}",
        created_at=now(),
    )
