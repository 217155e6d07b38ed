"""What an installer wants to know of a peer: whether it answers, and how it proves that it holds what it was sent."""

from collections.abc import Iterator

from dicom_io.errors import DicomError, QueryNotOffered
from dicom_io.network.dicomweb import verify_over_web
from dicom_io.network.storage_commitment import offers_commitment
from dicom_io.network.verification import echo
from node.destinations import dicom_peer
from node.installation_finding import LOOPBACK, Finding, Level
from node.settings import Peer, Settings, web_peer


def look_at_peer(settings: Settings, entry: Peer) -> Iterator[Finding]:
    """Yield what is found by asking one peer; nothing is stored there."""
    yield from _web(settings, entry) if entry.is_web else _dicom(settings, entry)


def _dicom(settings: Settings, entry: Peer) -> Iterator[Finding]:
    peer, calling_ae = dicom_peer(entry), settings.node.ae_title
    what = f"peer {entry.name}"
    try:
        seconds = echo(peer, calling_ae)
    except DicomError as error:
        remedy = f"Start it, open the firewall, and enter {calling_ae} there as a known AE title."
        yield Finding(what, Level.PROBLEM, str(error), remedy)
        return
    yield Finding(what, Level.OK, f"{peer} answered C-ECHO in {1000 * seconds:.0f} ms.")
    if entry.commitment == "off":
        why = f"{entry.name} is not asked to commit to what it accepts."
        yield Finding(what, Level.WARNING, why, "Set its commitment to auto, unless its answers are known to fail.")
        return
    try:
        is_offered = offers_commitment(peer, calling_ae)
    except DicomError as error:
        yield Finding(what, Level.PROBLEM, str(error), "Look into its log, or set its commitment to off.")
        return
    yield from _commitment(settings, entry) if is_offered else _no_commitment(entry)


def _commitment(settings: Settings, entry: Peer) -> Iterator[Finding]:
    node, what = settings.node, f"peer {entry.name}"
    why = f"{entry.name} offers storage commitment; it must know {node.ae_title} at {node.host}:{node.port} to answer."
    if node.host in LOOPBACK and entry.host not in LOOPBACK:
        remedy = "Set [node] host to this machine's address in the network of the archive."
        yield Finding(what, Level.PROBLEM, f"{why} The node listens on this machine only.", remedy)
    else:
        yield Finding(what, Level.OK, why)


def _no_commitment(entry: Peer) -> Iterator[Finding]:
    what, why = f"peer {entry.name}", f"{entry.name} offers no storage commitment to this node"
    if entry.commitment == "required":
        yield Finding(what, Level.PROBLEM, f"{why}, but it is required.", "Switch it on there, or set it to auto here.")
    else:
        yield Finding(what, Level.OK, f"{why}; it is asked by query what it holds.")


def _web(settings: Settings, entry: Peer) -> Iterator[Finding]:
    peer, what = web_peer(entry, settings.file.parent), f"peer {entry.name}"
    try:
        seconds = verify_over_web(peer)
    except QueryNotOffered as error:
        remedy = "Check its url. If it has no search, what it accepts counts as delivered without further proof."
        yield Finding(what, Level.WARNING, str(error), remedy)
    except DicomError as error:
        yield Finding(what, Level.PROBLEM, str(error), "Start it, open the firewall, and check url and credentials.")
    else:
        yield Finding(what, Level.OK, f"{peer} answered a search in {1000 * seconds:.0f} ms.")
