"""Verification as a user: C-ECHO, the question whether a peer is there and knows us (PS3.4 annex A)."""

import time

from dicom_io.errors import PeerRefused
from dicom_io.network.association import open_association
from dicom_io.network.contexts import verification_contexts
from dicom_io.network.peers import Peer

ANSWER_WITHIN_S = 10.0


def echo(peer: Peer, calling_ae: str = "LODESTONE", answer_within_s: float = ANSWER_WITHIN_S) -> float:
    """Send C-ECHO to `peer` and return how long association and answer took [s].

    `answer_within_s` [s] is how long the peer may take to accept the association.

    Raises
    ------
    PeerUnreachable
        No association could be made.
    PeerRefused
        The answer was empty or a failure.
    """
    started = time.monotonic()
    with open_association(peer, calling_ae, verification_contexts(), answer_within_s) as association:
        status = association.send_c_echo().get("Status")
    if status is None:
        raise PeerRefused(f"{peer} accepted the association but did not answer C-ECHO.")
    if status != 0x0000:
        raise PeerRefused(f"{peer} answered C-ECHO with status 0x{status:04X}.")
    return time.monotonic() - started
