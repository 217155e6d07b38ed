"""One series, many peers: each that stores, commits, refuses or falls silent in its own way has an outcome one can see.

The outcomes are read as a person reads them, with `lodestone show` and `lodestone list`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from pydicom.uid import Comprehensive3DSRStorage, ImplicitVRLittleEndian, MRImageStorage

from dicom_io.network.peers import Peer
from dicom_io.network.storage_scu import send
from tests.e2e.node_process import Node, lodestone, serving, write_site
from tests.e2e.orthanc import DICOMWEB, Orthanc, running_orthanc
from tests.node import scans
from tests.node.scripted_archive import Script, ScriptedArchive
from tests.waiting import eventually

pytestmark = pytest.mark.e2e

N_OBJECTS = scans.SHAPE[0] + 2
NO_SUCH_INSTANCE = 0x0112
QUICK = {
    "first_retry_s = 5": "first_retry_s = 1",
    "longest_retry_s = 900": "longest_retry_s = 4",
    "[output]": '[output]\nobjects = ["susceptibility", "segmentation", "report"]',
}


@dataclass
class Town:
    """A node, a real Orthanc as two of its peers, and archives that follow scripts; `first` is what was told first."""

    node: Node
    orthanc: Orthanc
    scripted: dict[str, ScriptedArchive]
    first: dict[str, dict] = field(default_factory=dict)

    def peers(self) -> dict[str, dict]:
        """Return what `lodestone list` says of each peer."""
        (series,) = self.node.series()
        return series["peers"]

    def story(self) -> dict:
        """Return what `lodestone show` says of the series."""
        (series,) = self.node.series()
        return self.node.ask("show", series["key"])


def scripts() -> dict[str, Script]:
    """Return how each scripted archive behaves."""
    copies: dict[str, int] = {}

    def half_at_first(uid: str) -> int | None:
        copies[uid] = copies.get(uid, 0) + 1
        return NO_SUCH_INSTANCE if copies[uid] == 1 and len(copies) % 2 else None

    silent: set[str] = set()

    def drops_first(uid: str, copy: int) -> int | None:
        if not silent:
            silent.add(uid)
        return None if uid in silent and copy == 1 else 0x0000

    return {
        "PART": Script(failing=half_at_first),
        "LATE": Script(reports="never"),
        "NEVER": Script(reports="never"),
        "SAME": Script(reports="same"),
        "WARNING": Script(store_status=lambda uid, copy: 0xB000),
        "SILENT": Script(store_status=drops_first),
        "NO_REPORTS": Script(refused_classes={Comprehensive3DSRStorage}),
        "IMPLICIT": Script(syntaxes=(ImplicitVRLittleEndian,), offers_commitment=False),
        "CLOSED": Script(admits=("SOMEBODY",), offers_commitment=False, offers_query=False),
    }


def peer_tables(scripted: dict[str, ScriptedArchive], orthanc: Orthanc) -> str:
    tables = [
        f'[[peers]]\nname = "{name}"\nae_title = "{name}"\nhost = "127.0.0.1"\nport = {archive.port}\n'
        + ("commit_within_min = 0.05\n" if name == "NEVER" else "")
        for name, archive in scripted.items()
    ]
    url = f"http://127.0.0.1:{orthanc.http_port}/dicom-web"
    return "\n".join([*tables, f'[[peers]]\nname = "WEB"\nprotocol = "dicomweb"\nurl = "{url}"\n'])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], str]) -> Iterator[Town]:
    """Let one series travel to every peer, and wait until all but the late and the closed one are final."""
    folder = tmp_path_factory.mktemp("town")
    with contextlib.ExitStack() as stack:
        orthanc = stack.enter_context(running_orthanc(folder / "pacs", program("Orthanc"), "ORTHANC", [DICOMWEB]))
        scripted = {name: ScriptedArchive(script, title=name).start() for name, script in scripts().items()}
        for archive in scripted.values():
            stack.callback(archive.stop)
        names = ", ".join(f'"{name}"' for name in ("ORTHANC", "WEB", *scripted))
        extra = QUICK | {
            'destinations = ["ORTHANC"]': f"destinations = [{names}]",
            "# Which series becomes a map": f"{peer_tables(scripted, orthanc)}\n# Which series becomes a map",
        }
        node = write_site(folder / "site", f"ORTHANC@127.0.0.1:{orthanc.dicom_port}", ["SCANNER"], extra)
        orthanc.put_modality("LODESTONE", "LODESTONE", node.port)
        for archive in scripted.values():
            archive.reports_to = Peer("node", "LODESTONE", "127.0.0.1", node.port)
        stack.enter_context(serving(node))
        town = Town(node, orthanc, scripted)
        send(archive.reports_to, scans.write(folder / "scanner", scans.instances()), calling_ae="SCANNER")
        eventually(lambda: is_quiet(town), 400, "the end of what ends by itself", every_s=1.0)
        town.first = town.peers()
        yield town


def admit(town: Town) -> dict:
    """Let the closed archive admit the node, and wait until it has everything."""
    archive = town.scripted["CLOSED"]
    if archive.script.admits is not None:
        archive.stop()
        archive.script.admits = None
        archive.start()
    return eventually(lambda: not town.peers()["CLOSED"]["pending"] and town.peers()["CLOSED"], 120, "the delivery")


def is_quiet(town: Town) -> bool:
    """Say whether all is final but at the archive that is to commit later and the one that admits nobody."""
    known = town.node.series()
    assert all(series["state"] not in ("refused", "failed") for series in known), known
    told = known[0]["peers"] if known else {}
    return bool(told) and all(
        not (entry["pending"] or entry["accepted"]) for peer, entry in told.items() if peer not in ("LATE", "CLOSED")
    )


def test_orthanc_commits_on_an_association_of_its_own_and_that_is_shown(town: Town) -> None:
    told = town.first["ORTHANC"]
    assert (told["delivered"], told["committed"]) == (N_OBJECTS, N_OBJECTS)
    assert len(town.orthanc.instances(MRImageStorage)) == scans.SHAPE[0]


def test_orthanc_s_dicomweb_is_asked_what_it_holds(town: Town) -> None:
    assert town.first["WEB"]["found"] == N_OBJECTS


def test_a_part_that_was_not_committed_was_sent_again_and_nothing_else(town: Town) -> None:
    told, stores = town.first["PART"], town.scripted["PART"].stores
    assert told["committed"] == N_OBJECTS
    assert told["resends"] == sum(copies - 1 for copies in stores.values()) > 0
    assert max(stores.values()) == 2


def test_an_archive_that_never_commits_was_asked_by_query(town: Town) -> None:
    told = town.first["NEVER"]
    assert (told["found"], told["committed"]) == (N_OBJECTS, 0)
    events = [event for event in town.story()["events"] if event["details"].get("peer") == "NEVER"]
    assert {"commitment.requested", "commitment.overdue", "peer.queried"} <= {event["event"] for event in events}


def test_a_commitment_on_the_association_of_the_request_counts(town: Town) -> None:
    assert town.first["SAME"]["committed"] == N_OBJECTS


def test_a_warning_is_delivered_and_told(town: Town) -> None:
    told = town.first["WARNING"]
    assert (told["committed"], told["status"]) == (N_OBJECTS, "0xB000")
    assert "the peer changed elements of it" in told["sentence"]


def test_an_object_that_was_not_answered_was_sent_again_alone(town: Town) -> None:
    told, stores = town.first["SILENT"], town.scripted["SILENT"].stores
    assert told["committed"] == N_OBJECTS
    assert sorted(stores.values()) == [1] * (N_OBJECTS - 1) + [2]


def test_a_refused_class_is_told_and_holds_nothing_back(town: Town) -> None:
    told = town.first["NO_REPORTS"]
    assert (told["committed"], told["refused"], told["refused_kinds"]) == (N_OBJECTS - 1, 1, ["report"])
    assert "takes no Comprehensive 3D SR" in told["sentence"]


def test_an_archive_of_another_transfer_syntax_got_everything_in_its_own(town: Town) -> None:
    assert town.first["IMPLICIT"]["found"] == N_OBJECTS


def test_an_archive_that_rejects_the_association_is_told_by_name_and_gets_everything_when_it_admits(town: Town) -> None:
    told = town.first["CLOSED"]
    assert told["pending"] == N_OBJECTS
    assert "Calling AE title not recognised" in told["sentence"]
    told = admit(town)
    assert (told["delivered"], told["answered"]) == (N_OBJECTS, N_OBJECTS)


def test_the_series_waits_for_the_late_commitment_and_ends_with_it(town: Town) -> None:
    admit(town)
    assert town.peers()["LATE"]["accepted"] == N_OBJECTS
    text = " ".join(lodestone("list", "-c", str(town.node.toml)).stdout.split())
    assert "encoded" in text
    town.scripted["LATE"].report()
    (ended,) = town.node.wait_for_final_states(1, within_s=120)
    assert ended["state"] == "recorded"
    assert ended["peers"]["LATE"]["committed"] == N_OBJECTS
    assert "NO_REPORTS does not take one object (report)" in ended["sentence"]
    story = town.story()
    assert story["run"]["seal"]["is_intact"]
    assert story["run"]["seal"]["document"]["deliveries"]["ORTHANC"]["committed"] == N_OBJECTS
    shown = " ".join(lodestone("show", ended["key"], "-c", str(town.node.toml)).stdout.split())
    assert f"to NEVER {N_OBJECTS} delivered ({N_OBJECTS} found by query)" in shown
