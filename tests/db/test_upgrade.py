"""A record of the first schema keeps everything when it is brought to the present one, and can go back."""

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from db import audit, deliveries, runs, series
from db.deliveries import DeliveryState, Evidence
from db.session import MIGRATIONS, Database, migrate

SERIES = """
INSERT INTO lodestone_series (key, series_instance_uid, sop_class_uid, calling_ae, state, revision, n_instances,
    destinations, sentence, completeness, created_at, changed_at, last_received_at)
VALUES ('s-1', '1.2.3', '', 'SCANNER', 'recorded', 1, 2, '["PACS"]', '', '', :at, :at, :at)
"""
RUN = """
INSERT INTO lodestone_runs (key, series_key, revision, inputs, input_digest, acquisition, recipe_name, recipe_text,
    recipe_digest, software, device, steps, quality, regions, performed_at)
VALUES ('r-1', 's-1', 1, '[]', 'b', '{}', 'default', '', 'd', '{}', 'cpu', '{}', '{}', '[]', :at)
"""
OUTPUT = """
INSERT INTO lodestone_outputs (sop_instance_uid, run_key, series_instance_uid, sop_class_uid, kind, sha256, size, path,
    created_at)
VALUES (:uid, 'r-1', '2.25.9', '1.2', :kind, 'c', 5, 'r-1/a.dcm', :at)
"""
DELIVERY = """
INSERT INTO lodestone_deliveries (run_key, sop_instance_uid, peer, state, attempts, status, sentence, created_at,
    delivered_at)
VALUES ('r-1', :uid, 'PACS', :state, 1, '0x0000', '', :at, :delivered_at)
"""
AT = "2026-01-02 03:04:05"


def move(url: str, to: str, word: str = "upgrade") -> None:
    database = Database(url)
    with database.begin() as session:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = session.connection()
        getattr(command, word)(config, to)
    database.close()


def fill_first_schema(url: str) -> None:
    move(url, "0001")
    database = Database(url)
    with database.begin() as session:
        session.execute(text(SERIES), {"at": AT})
        session.execute(text(RUN), {"at": AT})
        for uid, kind, state in (("2.25.1", "susceptibility", "delivered"), ("2.25.2", "report", "pending")):
            session.execute(text(OUTPUT), {"uid": uid, "kind": kind, "at": AT})
            delivered_at = AT if state == "delivered" else None
            session.execute(text(DELIVERY), {"uid": uid, "state": state, "at": AT, "delivered_at": delivered_at})
        audit.append(session, "series.recorded", "s-1")
    database.close()


def test_an_upgraded_record_keeps_its_series_and_says_what_its_deliveries_rest_on(url: str) -> None:
    fill_first_schema(url)
    migrate(url)
    database = Database(url)
    with database.read() as session:
        assert series.get(session, "s-1").state == "recorded"
        run = runs.get(session, "s-1", 1)
        delivered, pending = deliveries.of_run(session, run.key)
        assert (delivered.kind, delivered.state, delivered.evidence) == (
            "susceptibility",
            DeliveryState.DELIVERED,
            Evidence.ANSWERED,
        )
        assert delivered.accepted_at == delivered.delivered_at
        assert (pending.kind, pending.state, pending.evidence, pending.resends) == ("report", "pending", None, 0)
        assert audit.verify(session).is_intact
    database.close()


def test_a_further_map_outlives_the_way_back_as_a_series_without_a_uid(url: str) -> None:
    fill_first_schema(url)
    migrate(url)
    database = Database(url)
    with database.begin() as session:
        assert series.get(session, "s-1").map_of is None
        further = series.create_further(session, series.get(session, "s-1"), "v_sharp_tv").key
    database.close()
    move(url, "0003", "downgrade")
    move(url, "0004")
    database = Database(url)
    with database.read() as session:
        assert series.get(session, further).series_instance_uid is None
        assert series.get(session, "s-1").series_instance_uid == "1.2.3"
        assert audit.verify(session).is_intact
    database.close()


def test_a_record_can_go_back_to_the_schema_it_came_from(url: str) -> None:
    fill_first_schema(url)
    migrate(url)
    database = Database(url)
    with database.begin() as session:
        deliveries.of_run(session, "r-1")[1].accept()
    database.close()
    move(url, "0001", "downgrade")
    database = Database(url)
    with database.read() as session:
        states = session.execute(text("SELECT state FROM lodestone_deliveries ORDER BY id")).scalars().all()
        assert states == ["delivered", "delivered"]
    database.close()
    migrate(url)
