"""A node with its listener, and an archive that follows a script, for the tests of delivery."""

from collections.abc import Callable, Iterator

import pytest

from dicom_io.network.peers import Peer
from node import destinations
from node.app import build_services_from_file
from node.listener import Listener
from node.services import Services
from tests.node.scripted_archive import Script, ScriptedArchive
from tests.waiting import free_port

Site = tuple[Services, ScriptedArchive]


@pytest.fixture
def open_site(node_toml: Callable, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Site]]:
    """Return the function that opens a node with its listener and an archive that follows a script."""
    monkeypatch.setattr(destinations, "SAME_ASSOCIATION_S", 0.0)
    closing: list[Callable[[], None]] = []

    def begin(script: Script | None = None, peer: str = "", delivery: str = "", listens: bool = True) -> Site:
        archive = ScriptedArchive(script or Script()).start()
        path = node_toml(port=free_port(), archive_port=archive.port)
        text = path.read_text().replace(f"port = {archive.port}\n", f"port = {archive.port}\n{peer}\n")
        path.write_text(text.replace("[delivery]\n", f"[delivery]\n{delivery}\n"))
        services = build_services_from_file(path)
        node = services.settings.node
        archive.reports_to = Peer("node", node.ae_title, node.host, node.port)
        closing.extend((services.close, archive.stop))
        if listens:
            listener = Listener(services.settings, services)
            listener.start()
            closing.append(lambda: listener.stop(1.0))
        return services, archive

    yield begin
    for close in reversed(closing):
        close()
