"""What the deliveries of a run come to: whether a peer lacks what it must have, and what a person is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from db.deliveries import Delivery, DeliveryState
from node.object_kinds import ObjectKind
from node.settings import Settings

# Without the map there is no result, whatever else arrived.
MUST_HAVE = frozenset({ObjectKind.SUSCEPTIBILITY.value})


@dataclass(frozen=True)
class Outcome:
    """Whether the deliveries failed, and the sentence of it; a sentence without failure tells what a peer lacks."""

    is_failure: bool
    sentence: str


def conclude(rows: Sequence[Delivery], destinations: Sequence[str], settings: Settings) -> Outcome:
    """Return what final deliveries come to.

    A peer must have the kinds that its `objects` name, or the susceptibility map where they name none, and it must
    have something. What else it does not take is told and does no harm.
    """
    sent = {peer: [row for row in rows if row.peer == peer] for peer in destinations}
    hours = settings.delivery.give_up_after_h
    failures = [_failure(peer, mine, hours) for peer, mine in sent.items()]
    failures += [_lack(peer, mine, settings.kinds_for(peer) or MUST_HAVE) for peer, mine in sent.items()]
    if any(failures):
        return Outcome(True, " ".join(sentence for sentence in failures if sentence))
    told = [_remark(peer, mine) for peer, mine in sent.items()]
    return Outcome(False, " ".join(sentence for sentence in told if sentence))


def _failure(peer: str, rows: Sequence[Delivery], hours: float) -> str:
    failed = [row for row in rows if row.state == DeliveryState.FAILED]
    never_accepted = [row for row in failed if row.accepted_at is None]
    sentences = []
    if never_accepted:
        sentences.append(f"{peer} did not accept every object within {hours:g} h: {never_accepted[-1].sentence}")
    lost = sorted({row.sentence for row in failed if row.accepted_at is not None})
    return " ".join([*sentences, *lost])


def _lack(peer: str, rows: Sequence[Delivery], must_have: frozenset[str]) -> str:
    refused = [row for row in rows if row.state == DeliveryState.REFUSED]
    needed = [row for row in refused if row.kind in must_have]
    if not needed and len(refused) == len(rows):
        needed = refused
    return f"{_refusal(peer, needed)} It must have them: see its objects in [[peers]]." if needed else ""


def _remark(peer: str, rows: Sequence[Delivery]) -> str:
    if not rows:
        return f"{peer} was sent nothing: this run made no object of the kinds that it is to have."
    return _refusal(peer, [row for row in rows if row.state == DeliveryState.REFUSED])


def _refusal(peer: str, refused: Sequence[Delivery]) -> str:
    if not refused:
        return ""
    kinds = ", ".join(sorted({row.kind.replace("_", " ") for row in refused}))
    objects = "one object" if len(refused) == 1 else f"{len(refused)} objects"
    return f"{peer} does not take {objects} ({kinds}): {refused[-1].sentence}"
