import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_io.errors import PeerUnreachable
from dicom_io.network.peers import Peer
from dicom_io.network.verification import echo
from tests.dicom_io.network.conftest import Provider
from tests.waiting import eventually, free_port, is_listening


def test_a_peer_that_knows_us_answers(provider: Provider) -> None:
    provider.start()
    assert echo(provider.peer, "SCANNER") > 0


def test_a_peer_that_does_not_know_us_is_reported_with_its_reason_and_our_name(provider: Provider) -> None:
    provider.start()
    with pytest.raises(PeerUnreachable, match=r"Calling AE title not recognised.*calls itself STRANGER"):
        echo(provider.peer, "STRANGER")


@pytest.mark.e2e
def test_dcmtk_echoscu_is_answered(provider: Provider, dcmtk: Callable[[str], str]) -> None:
    provider.start()
    port = str(provider.peer.port)
    subprocess.run([dcmtk("echoscu"), "-aet", "SCANNER", "-aec", "NODE", "127.0.0.1", port], check=True, timeout=30)
    refused = subprocess.run([dcmtk("echoscu"), "-aet", "X", "-aec", "NODE", "127.0.0.1", port], timeout=30)
    assert refused.returncode != 0


@pytest.mark.e2e
def test_dcmtk_storescp_answers_our_echo(dcmtk: Callable[[str], str], tmp_path: Path) -> None:
    port = free_port()
    storescp = subprocess.Popen([dcmtk("storescp"), "-od", str(tmp_path), str(port)])
    try:
        eventually(lambda: is_listening(port), 20, "storescp's start")
        assert echo(Peer("DCMTK", "ANY-SCP", "127.0.0.1", port)) > 0
    finally:
        storescp.terminate()
        storescp.wait(20)
