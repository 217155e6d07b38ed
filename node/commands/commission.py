"""`lodestone commission`: send known squares to a site's archive, and say what its viewer must show."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rich.table import Table

from node.commands.console import FAILED, StepDisplay, err, out, print_json
from node.commissioning import SOURCE, KindOutcome, Kit, KitFile, deliver, expectations, make_kit, write_objects
from node.commissioning_page import commissioning_page
from node.destinations import Destination, DicomDestination, destination, dicom_peer
from node.errors import InvalidSettings
from node.object_kinds import ObjectKind
from node.settings import load_settings
from node.site import parse_archive

MAKING, SENDING = "making the test series", "sending"
OBJECTS_FOLDER, PAGE_FILE = "dicom", "commissioning.pdf"
TITLE = "Known values for the site's viewer"
DEFAULT_AE = "LODESTONE"
NEEDED = (SOURCE, ObjectKind.SUSCEPTIBILITY, ObjectKind.SUMMARY)


@dataclass(frozen=True)
class _Target:
    """Where the kit goes: in words for people, with our AE title there, and the kinds that the peer is to get."""

    destination: Destination
    described: str
    calling_ae: str
    kinds: tuple[str, ...] = ()

    def wants(self, kind: str) -> bool:
        """Say whether a kind is to be sent; the squares and what they are made from always are."""
        return not self.kinds or kind in (SOURCE, ObjectKind.SUSCEPTIBILITY, *self.kinds)


def commission_viewer(to: str, config: Path, folder: Path, seed: str, day: date, ae_title: str, as_json: bool) -> None:
    """Make the kit, send it, write the page, and exit 1 if the images or the page were refused.

    Raises
    ------
    InvalidSettings
        `to` names no peer of the settings and is no AET@HOST:PORT.
    PeerUnreachable
        The peer cannot be reached; the objects lie in the folder.
    """
    target = _target(to, config, ae_title)
    with StepDisplay(TITLE, (MAKING, SENDING), as_json) as display:
        display.update(MAKING, 0.0)
        kit = make_kit(seed, day, target.calling_ae)
        files = _write(kit, target, folder / OBJECTS_FOLDER)
        display.update(MAKING, 1.0)
        outcomes = _send(files, target, display)
        # The page says what was taken, so it is made last.
        content = commissioning_page(kit, outcomes, target.described)
        (folder / PAGE_FILE).write_bytes(content)
        page = write_objects(folder / OBJECTS_FOLDER, ObjectKind.SUMMARY, [kit.page(content)])
        if target.wants(ObjectKind.SUMMARY):
            outcomes += deliver(page, target.destination, lambda _: None)
        display.update(SENDING, 1.0)
    is_done = all(outcome.is_accepted for outcome in outcomes if outcome.kind in NEEDED)
    if as_json:
        print_json(_story(kit, outcomes, target, folder, is_done))
    else:
        _print(kit, outcomes, target, folder)
    if not is_done:
        sys.exit(FAILED)


def _write(kit: Kit, target: _Target, folder: Path) -> list[KitFile]:
    wanted = {kind: objects for kind, objects in kit.objects.items() if target.wants(kind)}
    return [file for kind, objects in wanted.items() for file in write_objects(folder, kind, objects)]


def _send(files: Sequence[KitFile], target: _Target, display: StepDisplay) -> list[KindOutcome]:
    answered = 0

    def note(_: object) -> None:
        nonlocal answered
        answered += 1
        display.update(SENDING, min(answered / (len(files) + 1), 0.99))

    display.update(SENDING, 0.0)
    return deliver(files, target.destination, note)


def _target(to: str, config: Path, ae_title: str) -> _Target:
    if "@" in to:
        peer = dicom_peer(parse_archive(to))
        calling_ae = ae_title or DEFAULT_AE
        return _Target(DicomDestination(peer, calling_ae), str(peer), calling_ae)
    if not config.is_file():
        raise InvalidSettings(
            f"{to!r} is to be looked up in {config}, which is not there; name the settings with -c, or write --to "
            "AET@HOST:PORT."
        )
    settings = load_settings(config)
    configured = settings.peer(to)
    calling_ae = ae_title or settings.node.ae_title
    if configured.is_web:
        described = f"{configured.name} ({configured.url})"
        return _Target(destination(settings, to), described, calling_ae, configured.objects)
    peer = dicom_peer(configured)
    return _Target(DicomDestination(peer, calling_ae), str(peer), calling_ae, configured.objects)


def _story(kit: Kit, outcomes: Sequence[KindOutcome], target: _Target, folder: Path, is_done: bool) -> dict[str, Any]:
    return {
        "peer": target.described,
        "is_accepted": is_done,
        "seed": kit.seed,
        "day": kit.day.isoformat(),
        "patient_id": str(kit.source.template.PatientID),
        "study_instance_uid": kit.study_uid,
        "series_instance_uid": str(kit.images[0].SeriesInstanceUID),
        "page": str(folder / PAGE_FILE),
        "objects": [{**asdict(outcome), "is_accepted": outcome.is_accepted} for outcome in outcomes],
        "must_read": expectations(),
    }


def _print(kit: Kit, outcomes: Sequence[KindOutcome], target: _Target, folder: Path) -> None:
    table = Table("object", "accepted", "", box=None, pad_edge=False)
    for outcome in outcomes:
        counted = f"{outcome.n_accepted} of {outcome.n_objects}"
        style = "" if outcome.is_accepted else "yellow"
        table.add_row(_name(outcome.kind), counted, "; ".join(outcome.sentences), style=style)
    out.print(
        f"{target.described}, patient {kit.source.template.PatientID}, study of {kit.day:%Y-%m-%d}:", soft_wrap=True
    )
    out.print(table)
    values = Table("square", "in the patient", "must read [ppb]", box=None, pad_edge=False)
    for one in expectations():
        values.add_row(str(one["square"]), f"{one['side']}, {one['end']}", f"{one['value_ppb']}")
    out.print(values)
    out.print(f"Print {folder / PAGE_FILE} and tick it in front of the viewer.", soft_wrap=True)
    refused = [_name(outcome.kind) for outcome in outcomes if not outcome.is_accepted]
    if refused:
        kinds = ", ".join(refused)
        remedy = "let the archive take them, or leave them out of `objects` of this peer in node.toml"
        err.print(f"Not taken: {kinds}; {remedy}.", style="yellow", soft_wrap=True)


def _name(kind: str) -> str:
    named = {SOURCE: "magnitude images", ObjectKind.SUMMARY.value: "instructions (PDF)"}
    return named.get(kind, kind.replace("_", " "))
