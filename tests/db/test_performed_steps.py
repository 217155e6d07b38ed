"""What scanners say of their steps is found by series, kind and study."""

from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from db import instances, performed_steps, series
from db.base import now
from db.instances import Standing
from db.performed_steps import COMPLETED, DISCONTINUED, LONGEST_STEP, Listing, Step
from db.session import Database

MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"


def begin(session: Session, uid: str = "2.25.1", studies: tuple[str, ...] = ("1.5",)) -> Step:
    return performed_steps.begin(session, uid, "SCANNER", studies, "a" * 64)


def test_a_step_is_found_by_the_series_and_the_kind_that_it_lists(database: Database) -> None:
    with database.begin() as session:
        step = begin(session)
        performed_steps.list_anew(session, step, [Listing("1.2", MR, ["1.2.1"]), Listing("1.2", ENHANCED, ["1.2.9"])])
    with database.read() as session:
        ((found, listed),) = performed_steps.listings_of(session, "1.2", MR)
        assert (found.sop_instance_uid, listed.sop_instance_uids) == ("2.25.1", ["1.2.1"])
        assert performed_steps.listings_of(session, "1.3", MR) == []


def test_a_new_list_replaces_the_old_one(database: Database) -> None:
    with database.begin() as session:
        step, other = begin(session), begin(session, "2.25.2")
        for one in (step, other):
            performed_steps.list_anew(session, one, [Listing("1.2", MR, ["1.2.1"])])
        performed_steps.list_anew(session, step, [Listing("1.3", MR, ["1.3.1", "1.3.2"])])
    with database.read() as session:
        assert [row.series_instance_uid for row in performed_steps.listed_by(session, ["2.25.1"])] == ["1.3"]
        assert [row.series_instance_uid for row in performed_steps.listed_by(session, ["2.25.2"])] == ["1.2"]


@pytest.mark.parametrize(
    ("state", "lists", "is_open"),
    [
        (performed_steps.IN_PROGRESS, False, True),
        (performed_steps.IN_PROGRESS, True, True),
        (DISCONTINUED, False, True),
        (DISCONTINUED, True, False),
        (COMPLETED, True, False),
    ],
)
def test_only_a_step_that_may_still_concern_any_series_is_open(
    database: Database, state: str, lists: bool, is_open: bool
) -> None:
    with database.begin() as session:
        step = begin(session)
        if lists:
            performed_steps.list_anew(session, step, [Listing("1.2", MR, ["1.2.1"])])
        performed_steps.change(session, step, state, "b" * 64)
    with database.read() as session:
        assert [one.sop_instance_uid for one in performed_steps.open_in_study(session, "1.5")] == ["2.25.1"] * is_open
        assert performed_steps.open_in_study(session, "1.6") == []


def test_a_step_that_a_scanner_forgot_to_end_is_not_open_for_ever(database: Database) -> None:
    with database.begin() as session:
        begin(session).begun_at = now() - LONGEST_STEP - timedelta(minutes=1)
    with database.read() as session:
        assert performed_steps.open_in_study(session, "1.5") == []


def test_what_has_not_arrived_is_found_among_very_many(database: Database) -> None:
    with database.begin() as session:
        owner = series.create(session, "1.2", "1.5", "SCANNER", MR)
        for number in range(1200):
            session.add(
                instances.Instance(
                    series_key=owner.key,
                    sop_instance_uid=f"1.2.{number}",
                    sop_class_uid=MR,
                    transfer_syntax_uid="1.2",
                    sha256="",
                    dataset_sha256="",
                    size=1,
                    inbox_name="",
                    calling_ae="SCANNER",
                    standing=Standing.KEPT,
                )
            )
    with database.read() as session:
        wanted = [f"1.2.{number}" for number in range(1203)]
        assert performed_steps.not_here(session, wanted) == ["1.2.1200", "1.2.1201", "1.2.1202"]
