"""Write the settings of a new site: a commented node.toml in a folder of its own."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from string import Template

from node.errors import InvalidSettings
from node.settings import Caller, Peer, Settings, load_settings

FILE_NAME = "node.toml"
NO_CALLERS = """# [[allow]]
# ae_title = "SCANNER"
# host = "10.0.0.5"                   # empty or absent: from any host
"""
NO_PEERS = """# [[peers]]
# name = "PACS"
# ae_title = "ORTHANC"
# host = "10.0.0.6"
# port = 4242
"""
NO_LABEL_NAMES = """# [regions.label_names]
# 1 = "caudate nucleus left"
"""


def write_site(
    directory: Path,
    ae_title: str = "LODESTONE",
    port: int = 11112,
    host: str = "127.0.0.1",
    archives: tuple[str, ...] = (),
    allowed: tuple[str, ...] = (),
    replace: bool = False,
    label_map: str = "",
    label_names: Mapping[int, str] | None = None,
) -> Settings:
    """Write `directory/node.toml` and return it as read back; `archives` are written AET@HOST:PORT.

    Raises
    ------
    InvalidSettings
        The file is there already, or an AE title, address or port cannot be.
    """
    path = directory / FILE_NAME
    if path.exists() and not replace:
        raise InvalidSettings(f"{path} is there already; edit it, or replace it with --force.")
    peers = _named([parse_archive(text) for text in archives])
    callers = [Caller(ae_title=title) for title in dict.fromkeys(allowed)]
    template = Template((resources.files("node") / "settings_template.toml").read_text(encoding="utf-8"))
    text = template.substitute(
        ae_title=json.dumps(ae_title),
        host=json.dumps(host),
        port=port,
        allow="\n".join(_caller_table(caller) for caller in callers) or NO_CALLERS,
        peers="\n".join(_peer_table(peer) for peer in peers) or NO_PEERS,
        destinations=json.dumps([peer.name for peer in peers]),
        label_map=json.dumps(label_map),
        label_names=_label_table(label_names) if label_names else NO_LABEL_NAMES,
    )
    directory.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    try:
        return load_settings(path)
    except InvalidSettings:
        path.unlink()
        raise


def parse_archive(text: str) -> Peer:
    """Read `AET@HOST:PORT`, e.g. `ORTHANC@127.0.0.1:4242`; an IPv6 address stands in brackets.

    Raises
    ------
    InvalidSettings
        The text has another form.
    """
    title, at, address = text.partition("@")
    host, colon, port = address.rpartition(":")
    if not (at and colon and title and host and port.isdigit() and 1 <= int(port) <= 65535):
        raise InvalidSettings(f"{text!r} is no archive; write AET@HOST:PORT, for example ORTHANC@127.0.0.1:4242.")
    try:
        return Peer(name=title, ae_title=title, host=host.strip("[]"), port=int(port))
    except ValueError as error:
        raise InvalidSettings(f"{text!r} is no archive: {title!r} is no AE title of 1 to 16 characters.") from error


def _named(peers: list[Peer]) -> list[Peer]:
    """Number the names of peers that share an AE title."""
    titles = [peer.ae_title for peer in peers]
    return [
        peer if titles.count(peer.ae_title) == 1 else peer.model_copy(update={"name": f"{peer.name}-{number}"})
        for number, peer in enumerate(peers, start=1)
    ]


def _caller_table(caller: Caller) -> str:
    return f"[[allow]]\nae_title = {json.dumps(caller.ae_title)}\n"


def _peer_table(peer: Peer) -> str:
    return (
        f"[[peers]]\nname = {json.dumps(peer.name)}\nae_title = {json.dumps(peer.ae_title)}\n"
        f"host = {json.dumps(peer.host)}\nport = {peer.port}\n"
    )


def _label_table(names: Mapping[int, str]) -> str:
    rows = "".join(f"{label} = {json.dumps(name)}\n" for label, name in sorted(names.items()))
    return f"[regions.label_names]\n{rows}"
