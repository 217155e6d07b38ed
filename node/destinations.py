"""Where results go: one peer of the settings, spoken to over DICOM or over the web, asked the same three things."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dicom_io.errors import CommitmentNotOffered
from dicom_io.network.dicomweb import find_held_over_web, store_over_web
from dicom_io.network.peers import Peer, WebPeer
from dicom_io.network.query import find_held
from dicom_io.network.send_result import SendResult
from dicom_io.network.storage_commitment import CommitmentHandler, Reference, request_commitment
from dicom_io.network.storage_scu import send
from node import settings
from node.settings import Settings

# Some archives answer on the association on which they were asked, and only there.
SAME_ASSOCIATION_S = 2.0

OnStatus = Callable[[SendResult], None]


class Destination(Protocol):
    """A peer to which results go. Every function raises what `dicom_io.errors` calls transient where it is away."""

    def store(self, paths: Sequence[Path], on_status: OnStatus) -> None:
        """Send files; `on_status` hears each answer at once."""

    def commit(self, references: Sequence[Reference], transaction_uid: str, on_answer: CommitmentHandler) -> None:
        """Ask for storage commitment; `on_answer` hears only what comes at once."""

    def held(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Return which of some objects, SOPInstanceUIDs by SeriesInstanceUID, the peer says that it holds."""


@dataclass(frozen=True)
class DicomDestination:
    """An application entity: C-STORE, storage commitment and C-FIND."""

    peer: Peer
    calling_ae: str

    def store(self, paths: Sequence[Path], on_status: OnStatus) -> None:
        """Send files by C-STORE."""
        send(self.peer, paths, on_status, self.calling_ae)

    def commit(self, references: Sequence[Reference], transaction_uid: str, on_answer: CommitmentHandler) -> None:
        """Ask for storage commitment; most answers come later, on an association that the peer opens."""
        request_commitment(self.peer, references, transaction_uid, self.calling_ae, on_answer, SAME_ASSOCIATION_S)

    def held(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Ask by C-FIND, one series after another."""
        found = (find_held(self.peer, study_uid, series, uids, self.calling_ae) for series, uids in wanted.items())
        return frozenset().union(*found)


@dataclass(frozen=True)
class WebDestination:
    """A DICOMweb server: STOW-RS and QIDO-RS."""

    peer: WebPeer

    def store(self, paths: Sequence[Path], on_status: OnStatus) -> None:
        """Send files by STOW-RS."""
        store_over_web(self.peer, paths, on_status)

    def commit(self, references: Sequence[Reference], transaction_uid: str, on_answer: CommitmentHandler) -> None:
        """Say that DICOMweb has no storage commitment.

        Raises
        ------
        CommitmentNotOffered
            Always; a query takes its place.
        """
        raise CommitmentNotOffered(f"{self.peer.name} is spoken to over DICOMweb, which has no storage commitment.")

    def held(self, study_uid: str, wanted: Mapping[str, Collection[str]]) -> frozenset[str]:
        """Ask by QIDO-RS, one series after another."""
        found = (find_held_over_web(self.peer, study_uid, series, uids) for series, uids in wanted.items())
        return frozenset().union(*found)


def destination(configuration: Settings, name: str) -> Destination:
    """Return the peer called `name` as something that results can be sent to.

    Raises
    ------
    InvalidSettings
        No peer has that name.
    """
    configured = configuration.peer(name)
    if configured.is_web:
        return WebDestination(settings.web_peer(configured, configuration.file.parent))
    return DicomDestination(dicom_peer(configured), configuration.node.ae_title)


def dicom_peer(configured: settings.Peer) -> Peer:
    """Return a configured application entity as the network layer knows it."""
    return Peer(configured.name, configured.ae_title, configured.host, configured.port)
