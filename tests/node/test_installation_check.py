import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from dicom_io.network.part10 import read_envelope
from node import app, installation_check
from node.archive import EmbeddedArchive
from node.installation_check import check, file_system_of
from node.installation_finding import Finding, Level
from node.journey.received import receive
from node.services import Services
from node.settings import Settings, load_settings
from node.site import write_site
from pipeline.networks.cards import training_state
from pipeline.networks.weights import verified_digest
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration, store_calibration
from tests.dicom_io.network.conftest import write_image
from tests.pipeline.learned_stub import NAME, folder_with_weights
from tests.pipeline.susceptibility.dipole_inversion.learned.calibrations import calibration
from tests.waiting import free_port

RECIPE = """
name = "own"
description = "for a test"

[steps.masking]
method = "no_such_method"
"""


@pytest.fixture
def site(tmp_path: Path) -> Settings:
    return write_site(tmp_path / "site", port=free_port(), allowed=("SCANNER",))


def findings(settings: Settings, what: str) -> list[Finding]:
    return [finding for finding in check(settings) if finding.what.startswith(what)]


def changed(site: Settings, old: str, new: str) -> Settings:
    text = site.file.read_text()
    assert old in text
    site.file.write_text(text.replace(old, new))
    return load_settings(site.file)


def test_a_fresh_site_may_be_written_to_and_its_port_is_free(site: Settings) -> None:
    for what in ("folder", "database", "callers", "memory"):
        assert [finding.level for finding in findings(site, what)] == [Level.OK], what
    assert findings(site, "port")[0].level is Level.OK


def test_every_finding_that_is_not_in_order_says_what_to_do(tmp_path: Path) -> None:
    empty = write_site(tmp_path / "empty", port=free_port())
    found = list(check(empty))
    assert any(finding.level is Level.PROBLEM for finding in found)
    assert all(finding.remedy for finding in found if finding.level is not Level.OK)


def test_a_node_that_nobody_may_send_to_is_a_problem(tmp_path: Path) -> None:
    closed = write_site(tmp_path / "closed", port=free_port())
    assert [finding.level for finding in findings(closed, "callers")] == [Level.PROBLEM]


def test_a_port_that_something_else_holds_is_a_problem(site: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.node.port))
        other.listen()
        (finding,) = findings(site, "port")
    assert finding.level is Level.PROBLEM
    assert str(site.node.port) in finding.sentence


def test_a_listener_on_loopback_only_is_worth_a_warning(site: Settings) -> None:
    assert [finding.level for finding in findings(site, "port")] == [Level.OK, Level.WARNING]


def test_a_peer_that_is_down_is_a_problem_and_one_that_answers_is_not(tmp_path: Path) -> None:
    archive = EmbeddedArchive(tmp_path / "archive")
    archive.start()
    places = (f"ARCHIVE@127.0.0.1:{archive.port}", f"DOWN@127.0.0.1:{free_port()}")
    site = write_site(tmp_path / "site", port=free_port(), archives=places)
    try:
        levels = [finding.level for finding in findings(site, "peer ")]
    finally:
        archive.stop()
    assert levels == [Level.OK, Level.OK, Level.PROBLEM]


def test_a_database_that_cannot_be_opened_is_a_problem_that_hides_the_password(site: Settings) -> None:
    port = free_port()
    there = f"postgresql://lodestone:secret@127.0.0.1:{port}/lodestone"
    (finding,) = findings(changed(site, "sqlite:///lodestone.db", there), "database")
    assert finding.level is Level.PROBLEM
    assert "secret" not in finding.sentence


def test_a_recipe_that_cannot_be_used_is_a_problem(site: Settings) -> None:
    recipes = site.file.parent / "recipes"
    recipes.mkdir()
    (recipes / "default.toml").write_text(RECIPE)
    own = site.model_copy(update={"recipes": site.recipes.model_copy(update={"directory": "recipes"})})
    own._file = site.file
    levels = {finding.level for finding in findings(own, "rules")}
    assert levels == {Level.PROBLEM}


@pytest.mark.parametrize(
    ("state", "level"),
    [(None, Level.PROBLEM), ("", Level.WARNING), ("undertrained", Level.WARNING), ("fully trained", Level.OK)],
)
def test_a_recipe_with_a_network_is_as_good_as_its_weights(
    site: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None, level: Level
) -> None:
    weights = tmp_path / "weights"
    for function in (verified_digest, load_calibration, training_state):
        monkeypatch.setattr(installation_check, function.__name__, partial(function, folder=weights))
    if state is not None:
        digest = verified_digest(NAME, folder_with_weights(weights))
        (uncalibrated,) = findings(changed(site, 'recipe = "default"', 'recipe = "learned"'), "weights")
        assert uncalibrated.level is Level.PROBLEM
        assert f"lodestone evaluate {NAME} --calibrate" in uncalibrated.sentence
        site = changed(site, 'recipe = "learned"', 'recipe = "default"')
        store_calibration(calibration(digest), NAME, weights)
        (weights / f"{NAME}.md").write_text(f"**State: {state}.**\n" if state else "nothing known\n")
    (finding,) = findings(changed(site, 'recipe = "default"', 'recipe = "learned"'), "weights")
    assert finding.level is level
    told = f"{finding.sentence} {finding.remedy}"
    assert (f"lodestone train {NAME} --export" if state is None else f"weights/{NAME}.md") in told or level is Level.OK


def test_a_file_system_is_known_by_its_mount() -> None:
    assert file_system_of(Path("/proc/self")) == "proc"


@pytest.fixture
def received(site: Settings, tmp_path: Path) -> Iterator[tuple[Settings, Services, str]]:
    """Return a site that has received one instance, and that instance's name in the inbox."""
    services = app.build_services(site)
    image = write_image(tmp_path / "image.dcm")
    envelope = read_envelope(image)
    stored = services.inbox.store(
        image.read_bytes()[envelope.dataset_offset :],
        SOPClassUID=envelope.SOPClassUID,
        SOPInstanceUID=envelope.SOPInstanceUID,
        TransferSyntaxUID=envelope.TransferSyntaxUID,
    )
    receive(services, stored, "SCANNER")
    yield site, services, stored.name
    services.close()


def test_an_inbox_that_agrees_with_the_record_is_in_order(received: tuple[Settings, Services, str]) -> None:
    assert [finding.level for finding in findings(received[0], "inbox")] == [Level.OK]


def test_a_recorded_instance_that_is_gone_is_a_problem(received: tuple[Settings, Services, str]) -> None:
    site, services, name = received
    services.inbox.discard(name)
    (finding,) = findings(site, "inbox")
    assert finding.level is Level.PROBLEM
    assert "1 of 1" in finding.sentence


def test_a_file_that_was_never_acknowledged_is_only_mentioned(received: tuple[Settings, Services, str]) -> None:
    site, services, name = received
    copy = services.inbox.path("ab" * 16)
    copy.write_bytes(services.inbox.path(name).read_bytes())
    assert [finding.level for finding in findings(site, "inbox")] == [Level.WARNING]
