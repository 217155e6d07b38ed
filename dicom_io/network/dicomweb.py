"""DICOMweb as a user: objects go out by STOW-RS, and QIDO-RS says what a service holds (PS3.18 sections 10.5, 10.6)."""

import json
import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from dicom_io.errors import ConnectionCut, PeerRefused, QueryNotOffered
from dicom_io.network.http_exchange import WebAnswer, exchange
from dicom_io.network.part10 import IMPLEMENTATION_CLASS_UID, check_uid, read_envelope
from dicom_io.network.peers import WebPeer
from dicom_io.network.send_result import NO_ANSWER, WARNINGS, SendResult, meaning_of, raise_if_refused

OK, ACCEPTED, CONFLICT = 200, 202, 409
NO_CONTENT, NOT_FOUND, UNSUPPORTED_MEDIA_TYPE = 204, 404, 415
TOO_LARGE = 413
# Beside what HTTP knows: the connection ended, or nothing came, before an answer was complete.
CUT, SILENCE = 0, -1
# One object can be the cause, or the length of the whole request: worth another try in smaller requests.
SMALLER_MAY_HELP = frozenset({CUT, 400, TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, 500})
SEARCH_NOT_OFFERED = frozenset({NOT_FOUND, 405, 501})

MOST_UNANSWERED = 3
PAGE = 1000
MOST_PAGES = 100

_JSON = "application/dicom+json"
_READ_BYTES = 256 * 1024
_PROCESSING_FAILURE = 0x0110
_LARGEST_CODE = 0xFFFF

_SOP_INSTANCE_UID, _STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID = "00080018", "0020000D", "0020000E"
_REFERENCED_SOP_INSTANCE_UID, _WARNING_REASON, _FAILURE_REASON = "00081155", "00081196", "00081197"
_FAILED_SOP_SEQUENCE, _REFERENCED_SOP_SEQUENCE = "00081198", "00081199"


@dataclass(frozen=True)
class _File:
    path: Path
    SOPInstanceUID: str
    n_bytes: int


def store_over_web(
    peer: WebPeer, paths: Sequence[Path], on_status: Callable[[SendResult], None] | None = None
) -> list[SendResult]:
    """Store files by STOW-RS and return what the service said of each, in the order in which it was asked.

    The bytes go out as they lie in the files. Requests are bounded by `peer.largest_request_bytes`; where the service
    finds one too large, or fails at it as a whole, smaller ones are tried down to single objects. What the service does
    not name in its answer has no status and is not accepted: ask `find_held_over_web` before sending it again.
    `on_status` hears each answer at once.

    Raises
    ------
    PeerUnreachable
        No connection. `on_status` has heard what was accepted before; where it was the first, nothing was sent.
    PeerRefused
        The service refused the requests as such (address, credentials, a redirect, overload), or at least one object
        was answered with a failure or not at all. `on_status` has heard which ones were accepted.
    NotDicom
        A file is no DICOM file; nothing was sent.
    """
    waiting = deque(_File(path, read_envelope(path).SOPInstanceUID, path.stat().st_size) for path in paths)
    n_files, limit, n_unanswered = len(waiting), peer.largest_request_bytes, 0
    results: list[SendResult] = []
    while waiting and n_unanswered < MOST_UNANSWERED:
        lot = _next_lot(waiting, limit)
        answer = _store(peer, lot)
        if len(lot) > 1 and answer.status in SMALLER_MAY_HELP:
            waiting.extendleft(reversed(lot))
            limit = sum(file.n_bytes for file in lot) // 2
            continue
        n_unanswered += {SILENCE: MOST_UNANSWERED, CUT: 1, 500: 1}.get(answer.status, 0)
        for result in _results(peer, lot, answer):
            results.append(result)
            if on_status is not None:
                on_status(result)
    raise_if_refused(peer, results, n_files)
    return results


def find_held_over_web(
    peer: WebPeer, study_uid: str, series_uid: str, sop_instance_uids: Collection[str]
) -> frozenset[str]:
    """Ask a service by QIDO-RS which of these objects of one series it holds.

    Raises
    ------
    QueryNotOffered
        The service has no search.
    PeerUnreachable
        No connection, or none that lasted.
    PeerRefused
        The search failed.
    """
    asked = frozenset(sop_instance_uids)
    study, series = check_uid(study_uid, "StudyInstanceUID"), check_uid(series_uid, "SeriesInstanceUID")
    found: set[str] = set()
    for page in range(MOST_PAGES):
        if asked <= found:
            break
        offset = {"offset": str(page * PAGE)} if page else {}
        answer = _search(peer, f"/studies/{study}/series/{series}/instances", {"limit": str(PAGE), **offset})
        if answer.status == NOT_FOUND:
            # Some services say so where they hold nothing, others where they have no search.
            verify_over_web(peer)
            break
        before = len(found)
        found |= {
            uid
            for match in _matches(peer, answer)
            if isinstance(uid := _first(match, _SOP_INSTANCE_UID), str)
            and _first(match, _STUDY_INSTANCE_UID) in (None, study)
            and _first(match, _SERIES_INSTANCE_UID) in (None, series)
        }
        # A service that knows no offset gives the same page again.
        if len(found) == before:
            break
    return asked & found


def verify_over_web(peer: WebPeer) -> float:
    """Search for a study that cannot be, and return how long the answer took [s]: address, TLS and credentials work.

    Raises
    ------
    QueryNotOffered
        The address has no search; storing may work nevertheless.
    PeerUnreachable
        No connection, or none that lasted.
    PeerRefused
        The search failed.
    """
    started = time.monotonic()
    answer = _search(peer, "/studies", {"StudyInstanceUID": IMPLEMENTATION_CLASS_UID, "limit": "1"})
    if answer.status == NOT_FOUND:
        raise QueryNotOffered(f"{peer} has no search at this address ({answer.meaning}); check its url.")
    return time.monotonic() - started


def _next_lot(waiting: deque[_File], limit: int) -> list[_File]:
    lot = [waiting.popleft()]
    n_bytes = lot[0].n_bytes
    while waiting and n_bytes + waiting[0].n_bytes <= limit:
        lot.append(waiting.popleft())
        n_bytes += lot[-1].n_bytes
    return lot


def _store(peer: WebPeer, lot: Sequence[_File]) -> WebAnswer:
    """Send one request and return its answer, or what came instead of one."""
    boundary = secrets.token_hex(16)
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode("ascii")
    tail = f"--{boundary}--\r\n".encode("ascii")
    headers = {
        "Content-Type": f'multipart/related; type="application/dicom"; boundary="{boundary}"',
        "Accept": _JSON,
    }
    n_bytes = sum(len(head) + file.n_bytes + 2 for file in lot) + len(tail)
    try:
        return exchange(peer, "POST", "/studies", headers, _body(lot, head, tail), n_bytes)
    except ConnectionCut as error:
        return WebAnswer(SILENCE if error.is_silence else CUT, "", b"")


def _body(lot: Sequence[_File], head: bytes, tail: bytes) -> Iterator[bytes]:
    for file in lot:
        yield head
        with file.path.open("rb") as opened:
            while piece := opened.read(_READ_BYTES):
                yield piece
        yield b"\r\n"
    yield tail


def _results(peer: WebPeer, lot: Sequence[_File], answer: WebAnswer) -> Iterator[SendResult]:
    """Say what an answer means for each object of the request that it answers."""
    is_stowed = answer.status in (OK, ACCEPTED, CONFLICT)
    if answer.status in (CUT, SILENCE):
        otherwise = NO_ANSWER
    elif is_stowed:
        otherwise = f"the answer ({answer.meaning}) does not name this object"
    elif answer.status in SMALLER_MAY_HELP:
        otherwise = answer.meaning + _advice(answer.status)
    else:
        raise PeerRefused(f"{peer} refused to store: {answer.meaning}{_advice(answer.status)}.")
    statuses = _statuses(answer) if is_stowed else {}
    is_unsupported = answer.status == UNSUPPORTED_MEDIA_TYPE
    for file in lot:
        status, meaning = statuses.get(file.SOPInstanceUID, (None, otherwise))
        yield SendResult(file.path, file.SOPInstanceUID, status, meaning, is_unsupported)


def _advice(status: int) -> str:
    if status in (401, 403):
        return "; check user and password_file, or token_file"
    if 300 <= status < 400:
        return "; it names another address, which is not followed: configure that one if it is right"
    if status in (NOT_FOUND, 405):
        return "; check its url"
    return "; the object is larger than the service takes" if status == TOO_LARGE else ""


def _statuses(answer: WebAnswer) -> dict[str, tuple[int, str]]:
    """Read status and meaning by SOPInstanceUID (PS3.18 table 10.5.3-3); a UID named in both sequences has failed."""
    statuses: dict[str, tuple[int, str]] = {}
    for dataset in _datasets(answer) or ():
        for item in _items(dataset, _REFERENCED_SOP_SEQUENCE):
            statuses.setdefault(*_stored(item))
        for item in _items(dataset, _FAILED_SOP_SEQUENCE):
            reason = _code(item, _FAILURE_REASON)
            # A reason that reads like a success does not turn a failure into one.
            code = _PROCESSING_FAILURE if reason is None or reason == 0 or reason in WARNINGS else reason
            statuses[str(_first(item, _REFERENCED_SOP_INSTANCE_UID))] = code, meaning_of(code)
    return statuses


def _stored(item: Mapping[str, Any]) -> tuple[str, tuple[int, str]]:
    uid, warning = str(_first(item, _REFERENCED_SOP_INSTANCE_UID)), _code(item, _WARNING_REASON)
    if not warning:
        return uid, (0x0000, meaning_of(0x0000))
    if warning not in WARNINGS:
        return uid, (0x0000, f"stored with a warning that is not in the standard: 0x{warning:04X}")
    return uid, (warning, meaning_of(warning))


def _search(peer: WebPeer, path: str, query: Mapping[str, str]) -> WebAnswer:
    answer = exchange(peer, "GET", f"{path}?{urlencode(query)}", {"Accept": _JSON})
    if answer.status in (OK, NO_CONTENT, NOT_FOUND):
        return answer
    if answer.status in SEARCH_NOT_OFFERED:
        raise QueryNotOffered(f"{peer} has no search ({answer.meaning}).")
    raise PeerRefused(f"{peer} refused the search: {answer.meaning}{_advice(answer.status)}.")


def _matches(peer: WebPeer, answer: WebAnswer) -> list[Mapping[str, Any]]:
    if answer.status == NO_CONTENT:
        return []
    datasets = _datasets(answer)
    if datasets is None:
        raise PeerRefused(f"{peer} answered the search with what is no DICOM JSON.")
    return datasets


def _datasets(answer: WebAnswer) -> list[Mapping[str, Any]] | None:
    """Read the datasets of a DICOM JSON body (PS3.18 annex F); nothing where it is none."""
    if answer.content_type not in (_JSON, "application/json"):
        return None
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    datasets = content if isinstance(content, list) else [content]
    return datasets if all(isinstance(dataset, dict) for dataset in datasets) else None


def _items(dataset: Mapping[str, Any], tag: str) -> list[Mapping[str, Any]]:
    return [item for item in _values(dataset, tag) if isinstance(item, dict)]


def _first(dataset: Mapping[str, Any], tag: str) -> Any:
    return next(iter(_values(dataset, tag)), None)


def _code(item: Mapping[str, Any], tag: str) -> int | None:
    code = _first(item, tag)
    return code if isinstance(code, int) and 0 <= code <= _LARGEST_CODE else None


def _values(dataset: Mapping[str, Any], tag: str) -> list[Any]:
    element = dataset.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
