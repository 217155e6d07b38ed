"""A DICOMweb server is sent everything by STOW-RS, and a search proves what it holds."""

from collections.abc import Callable, Iterator

import pytest

from db.deliveries import DeliveryState, Evidence
from db.series import State
from node.app import build_services_from_file
from tests.dicom_io.network.web_archive import WebArchive, running_web_archive
from tests.node.outbox import Encoded

PEER_BEFORE = 'ae_title = "ARCHIVE"\nhost = "127.0.0.1"\nport = 4242\n'


@pytest.fixture
def archive() -> Iterator[WebArchive]:
    """Run a DICOMweb server."""
    with running_web_archive() as running:
        yield running


@pytest.fixture
def encoded(node_toml: Callable, archive: WebArchive) -> Iterator[Encoded]:
    """Return an encoded series that goes to the server."""
    path = node_toml()
    text = path.read_text()
    assert PEER_BEFORE in text
    url = f'protocol = "dicomweb"\nurl = "http://127.0.0.1:{archive.port}/dicom-web"\n'
    path.write_text(text.replace(PEER_BEFORE, url))
    services = build_services_from_file(path)
    yield Encoded(services)
    services.close()


def test_a_search_proves_what_was_stored(encoded: Encoded, archive: WebArchive) -> None:
    encoded.look()
    assert set(archive.stored) == set(encoded.uids)
    assert encoded.evidence() == {Evidence.FOUND: 3}
    assert encoded.series().state == State.RECORDED


def test_without_a_search_the_answer_to_the_store_has_to_do(encoded: Encoded, archive: WebArchive) -> None:
    archive.searches = False
    encoded.look()
    assert encoded.evidence() == {Evidence.ANSWERED: 3}


def test_one_that_fails_is_sent_again_alone(encoded: Encoded, archive: WebArchive) -> None:
    failing = encoded.uids[1]
    archive.failing = {failing: 0xA700}
    encoded.look()
    assert encoded.states() == {DeliveryState.DELIVERED: 2, DeliveryState.PENDING: 1}
    assert encoded.rows()[1].status == "0xA700"
    archive.failing = {}
    sent = len(archive.lots)
    encoded.look_until_final()
    assert archive.lots[sent:] == [[failing]]
    assert encoded.evidence() == {Evidence.FOUND: 3}


def test_a_class_that_the_server_does_not_take_is_refused_and_told(encoded: Encoded, archive: WebArchive) -> None:
    archive.failing = dict.fromkeys(encoded.uids, 0x0122)
    encoded.look()
    assert encoded.states() == {DeliveryState.REFUSED: 3}
    assert "SOP class not supported" in encoded.series().sentence


def test_a_server_that_refuses_the_credentials_is_tried_again_and_told(encoded: Encoded, archive: WebArchive) -> None:
    archive.status = 401
    encoded.look()
    assert encoded.states() == {DeliveryState.PENDING: 3}
    assert "401" in encoded.details("peer.refused")["reason"]
