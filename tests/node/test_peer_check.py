"""An installer hears of each peer whether it answers and what will prove that it holds what it was sent."""

from collections.abc import Iterator

import pytest

from node.installation_finding import Finding, Level
from node.peer_check import look_at_peer
from node.settings import parse_settings
from tests.dicom_io.network.web_archive import WebArchive, running_web_archive
from tests.node.scripted_archive import Script, ScriptedArchive
from tests.waiting import free_port


@pytest.fixture
def archive() -> Iterator[ScriptedArchive]:
    """Return an archive that is started by the test and stopped at the end."""
    made = ScriptedArchive()
    yield made
    made.stop()


def findings(peer: dict, host: str = "127.0.0.1") -> list[Finding]:
    settings = parse_settings({"node": {"host": host}, "peers": [{"name": "PACS", **peer}]})
    return list(look_at_peer(settings, settings.peers[0]))


def dicom(port: int, **more: object) -> dict:
    return {"ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port, **more}


def test_an_archive_that_commits_must_know_where_to_answer(archive: ScriptedArchive) -> None:
    _, commitment = findings(dicom(archive.start().port))
    assert commitment.level is Level.OK
    assert "must know LODESTONE at 127.0.0.1:11112 to answer" in commitment.sentence


def test_an_archive_elsewhere_cannot_answer_a_node_that_listens_on_loopback(archive: ScriptedArchive) -> None:
    archive.host = "127.0.0.2"
    peer = dicom(archive.start().port, host=archive.host)
    _, commitment = findings(peer)
    assert commitment.level is Level.PROBLEM
    assert "[node] host" in commitment.remedy
    _, elsewhere = findings(peer, host="0.0.0.0")
    assert elsewhere.level is Level.OK


@pytest.mark.parametrize(
    ("commitment", "level", "told"),
    [
        ("auto", Level.OK, "asked by query"),
        ("required", Level.PROBLEM, "but it is required"),
        ("off", Level.WARNING, "is not asked to commit"),
    ],
)
def test_an_archive_without_commitment_is_a_problem_only_where_it_must_commit(
    archive: ScriptedArchive, commitment: str, level: Level, told: str
) -> None:
    archive.script = Script(offers_commitment=False)
    _, found = findings(dicom(archive.start().port, commitment=commitment))
    assert (found.level, told in found.sentence) == (level, True)


def test_a_peer_that_is_down_is_a_problem_of_one_line() -> None:
    (found,) = findings(dicom(free_port()))
    assert found.level is Level.PROBLEM
    assert "LODESTONE" in found.remedy


def web(archive: WebArchive) -> dict:
    return {"protocol": "dicomweb", "url": f"http://127.0.0.1:{archive.port}/dicom-web"}


def test_a_web_archive_is_asked_for_something_that_cannot_be() -> None:
    with running_web_archive() as archive:
        (found,) = findings(web(archive))
        archive.searches = False
        (without,) = findings(web(archive))
    assert (found.level, without.level) == (Level.OK, Level.WARNING)
    assert "without further proof" in without.remedy
    assert not archive.stored


def test_a_web_archive_that_is_down_is_a_problem() -> None:
    (found,) = findings({"protocol": "dicomweb", "url": f"http://127.0.0.1:{free_port()}"})
    assert found.level is Level.PROBLEM
