"""Query as a user: which objects a peer holds is asked of it, never concluded (C-FIND, PS3.4 annex C)."""

from collections.abc import Collection, Iterable
from contextlib import closing

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from dicom_io.errors import NoContextAccepted, PeerRefused, QueryNotOffered
from dicom_io.network.association import ACSE_TIMEOUT_S, open_association
from dicom_io.network.peers import Peer

SUCCESS = 0x0000
# PS3.4 section C.4.1.1.4: one more match, with or without support for every key.
PENDING = frozenset({0xFF00, 0xFF01})

# A series of ours has some hundred instances; a peer that goes on for ever must not hold a worker.
MOST_MATCHES = 100_000

_MEANINGS = {
    0xA700: "out of resources",
    0xA900: "identifier does not match SOP class",
    0x0122: "SOP class not supported",
    0x0124: "not authorised",
    0xFE00: "cancelled by the peer",
}


def query_contexts() -> list[PresentationContext]:
    """Build the context of C-FIND in the Study Root information model."""
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
    return [build_context(StudyRootQueryRetrieveInformationModelFind, syntaxes)]


def find_held(
    peer: Peer,
    study_uid: str,
    series_uid: str,
    sop_instance_uids: Collection[str],
    calling_ae: str = "LODESTONE",
    answer_within_s: float = ACSE_TIMEOUT_S,
) -> frozenset[str]:
    """Ask `peer` which of these objects of one series it holds.

    The series is asked for as a whole, since lists of UIDs are matched by fewer archives. A match that names another
    study or series counts for nothing. `answer_within_s` [s] is how long the peer may take to accept the association.

    Raises
    ------
    QueryNotOffered
        The peer takes the association but no query.
    PeerUnreachable
        No association could be made.
    PeerRefused
        The query ended with a failure, without an answer, or not at all.
    """
    if not sop_instance_uids:
        return frozenset()
    try:
        with open_association(peer, calling_ae, query_contexts(), answer_within_s) as association:
            held = _uids(_matches(association, peer, _identifier(study_uid, series_uid)), study_uid, series_uid)
    except NoContextAccepted as error:
        raise QueryNotOffered(f"{peer} takes no query in the Study Root information model.") from error
    return frozenset(sop_instance_uids) & held


def _identifier(study_uid: str, series_uid: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = study_uid
    identifier.SeriesInstanceUID = series_uid
    identifier.SOPInstanceUID = ""
    return identifier


def _matches(association: Association, peer: Peer, identifier: Dataset) -> Iterable[Dataset]:
    responses = association.send_c_find(identifier, StudyRootQueryRetrieveInformationModelFind)
    with closing(responses):
        for n_matches, (answer, match) in enumerate(responses):
            status = answer.get("Status")
            if status == SUCCESS:
                return
            if status not in PENDING:
                raise PeerRefused(f"{peer} did not answer the query{_why(status)}.")
            if n_matches >= MOST_MATCHES:
                raise PeerRefused(f"{peer} answered the query with more than {MOST_MATCHES} matches for one series.")
            if match is not None:
                yield match
    raise PeerRefused(f"{peer} broke off while it answered the query.")


def _uids(matches: Iterable[Dataset], study_uid: str, series_uid: str) -> frozenset[str]:
    return frozenset(
        str(match.get("SOPInstanceUID", ""))
        for match in matches
        if str(match.get("StudyInstanceUID", study_uid)) == study_uid
        and str(match.get("SeriesInstanceUID", series_uid)) == series_uid
    )


def _why(status: int | None) -> str:
    if status is None:
        return " to its end"
    meaning = "cannot understand the query" if 0xC000 <= status <= 0xCFFF else _MEANINGS.get(status, "unknown failure")
    return f": 0x{status:04X}, {meaning}"
