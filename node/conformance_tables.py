"""The statement's tables of services, contexts, statuses, settings and codes, read from the code that acts on them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, get_args

from pydantic import BaseModel
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom.presentation import PresentationContext

from dicom_io import codes
from dicom_io.kspace import raw_data
from dicom_io.network import association, contexts, mpps, query, send_result, storage_commitment, storage_scp
from dicom_io.network.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dicom_io.network.peers import WebPeer
from node import listener
from node.object_kinds import COMPANION_KINDS, USUAL_KINDS, ObjectKind
from node.settings import Settings

_EVERY_STATUS = range(0x0001, 0x10000)
_BUILT_IN = {OSError: "The file system does not take the bytes", MemoryError: "There is too little memory now"}


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a table in Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def network_tables(created: Mapping[str, str]) -> dict[str, str]:
    """Return the tables by their name in the template; `created` holds the SOP class of every kind of object."""
    return {
        "content": _content(created),
        "raw_creator": f"`{raw_data.CREATOR_VERSION_UID}`",
        "raw_private_creator": raw_data.PRIVATE_CREATOR,
        "raw_elements": _raw_elements(),
        "accepted_syntaxes": _syntaxes(contexts.ACCEPTED_TRANSFER_SYNTAXES),
        "proposed_storage": _proposed_storage(created),
        "verification_contexts": _contexts(contexts.verification_contexts()),
        "commitment_contexts": _contexts([storage_commitment.commitment_context()]),
        "step_contexts": _contexts([mpps.step_context()]),
        "query_contexts": _contexts(query.query_contexts()),
        "association_parameters": _association_parameters(),
        "rejections": _rejections(),
        "statuses_sent": _statuses_sent(),
        "statuses_heard": _statuses_heard(),
        "report_statuses": _report_statuses(),
        "step_statuses": _step_statuses(),
        "failure_reasons": _meanings(storage_commitment.failure_meaning, "unknown reason"),
        "query_statuses": _query_statuses(),
        "settings": _settings(),
        "object_kinds": _object_kinds(created),
        "code_sets": _code_sets(),
        "structures": _structures(),
    }


def _content(created: Mapping[str, str]) -> str:
    made = set(created.values())
    every = dict.fromkeys((*contexts.IMAGE_CLASSES, *contexts.COMPANION_CLASSES, *sorted(made)))
    rows = [
        (
            uid.name,
            f"`{uid}`",
            "yes" if uid in made else "",
            "yes" if uid in (*contexts.IMAGE_CLASSES, *contexts.COMPANION_CLASSES) else "",
            "yes" if uid in contexts.IMAGE_CLASSES else "",
            "yes" if uid in made else "",
        )
        for uid in map(UID, every)
    ]
    return table(("SOP class", "UID", "Created", "Received and kept", "Read for mapping", "Sent"), rows)


def _raw_elements() -> str:
    rows = [(str(tag), vr, meaning) for tag, (vr, meaning) in raw_data.PRIVATE_ELEMENTS.items()]
    return table(("Tag", "VR", "Meaning"), rows)


def _syntaxes(syntaxes: Iterable[str]) -> str:
    def use(syntax: str) -> str:
        if syntax in contexts.LOSSY:
            return "accepted; a phase image in it is refused afterwards, with a sentence in the record"
        return "accepted and read"

    return table(("Transfer syntax", "UID", "Use"), [(UID(one).name, f"`{one}`", use(one)) for one in syntaxes])


def _contexts(proposed: Iterable[PresentationContext]) -> str:
    rows = [
        (UID(str(context.abstract_syntax)).name, f"`{context.abstract_syntax}`", UID(str(syntax)).name, f"`{syntax}`")
        for context in proposed
        for syntax in context.transfer_syntax
    ]
    return table(("Abstract syntax", "UID", "Transfer syntax", "UID"), rows)


def _proposed_storage(created: Mapping[str, str]) -> str:
    objects = [(sop_class, ExplicitVRLittleEndian) for sop_class in dict.fromkeys(created.values())]
    return _contexts(sorted(contexts.contexts_to_offer(objects), key=lambda context: str(context.abstract_syntax)))


def _association_parameters() -> str:
    defaults = Settings.model_fields["node"].default
    rows = [
        ("Application context name", "1.2.840.10008.3.1.1.1"),
        ("Implementation class UID", IMPLEMENTATION_CLASS_UID),
        ("Implementation version name", IMPLEMENTATION_VERSION_NAME),
        ("Maximum PDU length offered", f"{association.MAXIMUM_PDU_BYTES} bytes"),
        ("Largest PDU that is read", f"{association.LARGEST_PDU_BYTES} bytes; a longer one ends the connection"),
        ("Largest object that is received", f"{storage_scp.ScpSettings('ANY').largest_object_bytes} bytes"),
        ("Associations accepted at a time", f"{defaults.max_associations} (configurable)"),
        ("Presentation contexts proposed in one association", f"at most {contexts.MOST_CONTEXTS}"),
        ("Asynchronous operations window", "not negotiated: one operation at a time"),
        ("Time to connect", f"{association.CONNECTION_TIMEOUT_S:g} s"),
        ("Time for an association to be answered", f"{association.ACSE_TIMEOUT_S:g} s"),
        ("Time for a DIMSE answer", f"{association.DIMSE_TIMEOUT_S:g} s"),
        ("Time without any network activity", f"{association.NETWORK_TIMEOUT_S:g} s"),
    ]
    return table(("Parameter", "Value"), rows)


def _rejections() -> str:
    reasons = (
        (storage_scp.CALLED_AE_NOT_RECOGNISED, "the association calls for another AE title (configurable)"),
        (storage_scp.CALLING_AE_NOT_RECOGNISED, "the caller is not configured, or not at its configured address"),
        (storage_scp.LOCAL_LIMIT_EXCEEDED, "as many associations are open as are configured; try again"),
    )
    return table(("Result", "Source", "Reason", "When"), [(*answer, when) for answer, when in reasons])


def _statuses_sent() -> str:
    rows = [(_hex(storage_scp.SUCCESS), "Success", "the bytes are flushed to disk and recorded in the database")]
    for kind, status in listener.STATUS_OF_ERROR:
        first = _BUILT_IN.get(kind) or (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
        rows.append((_hex(status), _category(status), f"`{kind.__name__}`: {first}"))
    rows.append((_hex(storage_scp.PROCESSING_FAILURE), "Failure", "anything else; there is no way from it to success"))
    rows.append((_hex(storage_scp.NOT_AUTHORISED), "Failure", "the caller may not store"))
    return table(("Status", "Category", "When"), rows)


def _statuses_heard() -> str:
    rows = [(_hex(0), "Success", send_result.meaning_of(0))]
    rows += [
        (span, "Warning" if first in send_result.WARNINGS else "Failure", meaning)
        for span, first, meaning in _spans(send_result.meaning_of, "unknown failure")
    ]
    rows += [("any other", "Failure", "unknown failure"), ("none", "Failure", "no answer: the association is given up")]
    return table(("Status", "Category", "Meaning to the node"), rows)


def _report_statuses() -> str:
    rows = (
        (storage_commitment.RECORDED, "the report is recorded in the database"),
        (storage_commitment.UNKNOWN_TRANSACTION, "no such transaction, or not opened with this peer, or unreadable"),
        (storage_commitment.NO_SUCH_INSTANCE, "the report is about another instance than the well-known one"),
        (storage_commitment.NO_SUCH_EVENT, "another event type than 1 and 2"),
        (storage_commitment.PROCESSING_FAILURE, "the report could not be recorded"),
    )
    return table(("Status", "When"), [(_hex(status), when) for status, when in rows])


def _step_statuses() -> str:
    rows = (
        (mpps.RECORDED, "the step, or its change, is recorded in the database, or was before"),
        (
            mpps.INVALID_VALUE,
            "an unknown status, a new step that is not IN PROGRESS, or what should be a UID and is none",
        ),
        (mpps.PROCESSING_FAILURE, "the message cannot be decoded or recorded"),
        (mpps.PROCESSING_FAILURE, f"with error ID {_hex(mpps.NO_LONGER_UPDATED)}: the step has ended"),
        (mpps.DUPLICATE_INSTANCE, "another step has this SOPInstanceUID"),
        (mpps.NO_SUCH_INSTANCE, "the step that is to be changed was not created here"),
        (mpps.INVALID_INSTANCE, "the step has no SOPInstanceUID"),
        (mpps.MISSING_ATTRIBUTE, "an attribute that is read is absent, or a completed step lists no series"),
        (mpps.MISSING_VALUE, "an attribute that is read is empty"),
        (mpps.NOT_AUTHORISED, "the caller may not store, or another caller created the step"),
        (mpps.RESOURCE_LIMITATION, f"the message is larger than {mpps.LARGEST_STEP_BYTES // 1024**2} MiB"),
    )
    return table(("Status", "When"), [(_hex(status), when) for status, when in rows])


def _query_statuses() -> str:
    rows = [(_hex(query.SUCCESS), "the matches so far are all")]
    rows += [(_hex(status), "one more match") for status in sorted(query.PENDING)]
    rows += [("any other, or none", "the query has failed: nothing is concluded from it, and it is asked again later")]
    return table(("Status", "Meaning to the node"), rows)


def _meanings(meaning_of: Callable[[int], str], unknown: str) -> str:
    return table(("Code", "Meaning to the node"), [(span, meaning) for span, _, meaning in _spans(meaning_of, unknown)])


def _spans(meaning_of: Callable[[int], str], unknown: str) -> list[tuple[str, int, str]]:
    """Return every run of codes with one meaning: the run as text, its first code and the meaning."""
    found = []
    for meaning, run in groupby(_EVERY_STATUS, key=meaning_of):
        run_codes = list(run)
        if not meaning.startswith(unknown):
            first, last = run_codes[0], run_codes[-1]
            found.append((_hex(first) if first == last else f"{_hex(first)} to {_hex(last)}", first, meaning))
    return found


def _settings() -> str:
    rows = [
        row for name, info in Settings.model_fields.items() for row in _section(name, info.annotation, info.default)
    ]
    return table(("Section", "Key", "Default", "Allowed"), rows)


def _section(name: str, annotation: Any, default: Any) -> Iterable[tuple[str, str, str, str]]:
    listed = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
    model: type[BaseModel] = listed[0] if listed else type(default)
    heading = f"`[[{name}]]`" if listed else f"`[{name}]`"
    for key, info in model.model_fields.items():
        shown = "required" if info.is_required() else _value(info.get_default(call_default_factory=True))
        yield heading, f"`{key}`", shown, _allowed(info.annotation, info.metadata)


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return "none" if value in ("", None, {}) else f"`{value}`".lower() if isinstance(value, bool) else f"`{value}`"


def _allowed(annotation: Any, metadata: Sequence[Any]) -> str:
    options = [option for option in get_args(annotation) if isinstance(option, str)]
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [
        f"{words} {getattr(limit, bound)}"
        for limit in metadata
        for bound, words in bounds.items()
        if hasattr(limit, bound)
    ]
    return ", ".join([*(f"`{option}`" for option in options), *limits])


def _object_kinds(created: Mapping[str, str]) -> str:
    def note(kind: str) -> str:
        if kind not in set(ObjectKind):
            return "where the rule says so and the source is enhanced"
        if kind in COMPANION_KINDS:
            return "where the recipe wants it"
        if kind == ObjectKind.KEY_OBJECTS:
            return "where a check of the map's quality failed"
        return "by default" if kind in USUAL_KINDS else "where the site wants it"

    rows = [(f"`{kind}`", UID(sop_class).name, note(kind)) for kind, sop_class in created.items()]
    return table(("Kind", "SOP class", "Made"), rows)


def _code_sets() -> str:
    found = {constant for constant in vars(codes).values() if isinstance(constant, Code)}
    rows = [
        (f"`{code.value}`", code.scheme_designator, code.meaning)
        for code in sorted(found, key=lambda code: (code.scheme_designator, code.value))
    ]
    return table(("Code value", "Scheme", "Code meaning"), rows)


def _structures() -> str:
    rows = [
        (code.meaning, f"`{code.value}`", code.scheme_designator, ", ".join(names))
        for code, names in codes.structures()
    ]
    return table(("Structure", "Code value", "Scheme", "Names by which a label map may call it"), rows)


def web_limits() -> dict[str, str]:
    """Return the bounds of an exchange over the web, as words for the template."""
    defaults = WebPeer("any", "https://pacs.example/dicom-web")
    return {
        "web_request_mib": str(defaults.largest_request_bytes // 1024**2),
        "web_answer_s": f"{defaults.answer_within_s:g}",
    }


def _category(status: int) -> str:
    return "Warning" if status >> 12 == 0xB else "Failure"


def _hex(status: int) -> str:
    return f"{status:04X}H"
