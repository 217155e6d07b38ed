"""All tables of the record, imported in one place so that migrations see every one."""

from db.artefacts import Artefact
from db.audit import AuditEvent, AuditHead
from db.base import Base
from db.commitments import Commitment
from db.deliveries import Delivery
from db.dispatches import Dispatch
from db.instances import Instance
from db.outputs import Output
from db.performed_steps import ListedSeries, Step
from db.runs import Run
from db.series import Series

TABLES = (
    *(Series, Instance, Artefact, Run, Output, Delivery, Commitment, Dispatch),
    *(Step, ListedSeries, AuditEvent, AuditHead),
)
METADATA = Base.metadata
