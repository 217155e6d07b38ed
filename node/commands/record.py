"""`lodestone list`, `show`, `audit` and `provenance`: the record, for a person or as JSON."""

import itertools
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text
from sqlalchemy.orm import Session

import db.audit
import db.deliveries
import db.instances
import db.provenance
import db.runs
import db.series
from db.series import Series
from db.session import Database, migrate
from node.commands.console import FAILED, err, out, print_json, print_regions, words
from node.errors import UnknownSeries
from node.region_values import trust_in_ppb
from node.settings import load_settings

MOST_ALIKE = 3
LONGEST_SENTENCE = 120
LONGEST_DIGEST = 16
STATE_STYLES = {"recorded": "green", "refused": "red", "failed": "red", "joined": "dim", "ignored": "dim"}


@contextmanager
def reading(config: Path) -> Iterator[Session]:
    """Open the site's record for reading."""
    url = load_settings(config).database_url
    migrate(url)
    database = Database(url)
    try:
        with database.read() as session:
            yield session
    finally:
        database.close()


def list_series(
    config: Path, state: str | None, limit: int | None, as_json: bool, creator_version: str | None = None
) -> None:
    """Print the series, the newest first; with `creator_version`, those that hold raw data of that UID."""
    with reading(config) as session:
        known = db.series.list_series(session, state, None if creator_version else limit)
        if creator_version:
            keys = db.instances.series_of_creator(session, creator_version)
            known = [series for series in known if series.source_key in keys][:limit]
        sent = db.deliveries.summaries(session, {series.key: series.revision for series in known})
        runs_of = db.provenance.revisions(session, [series.key for series in known])
        rows = [
            listing(session, series) | {"peers": sent.get(series.key, {}), "revisions": runs_of.get(series.key, [])}
            for series in known
        ]
    if as_json:
        print_json(rows)
        return
    if not rows:
        err.print("No series has arrived yet.")
        return
    table = Table(
        "series", "revision", "state", "instances", "from", "rule → recipe", "changed", "", box=None, pad_edge=False
    )
    for row in rows:
        table.add_row(
            row["key"],
            in_revisions(row),
            styled_state(row["state"]),
            str(row["n_instances"]),
            row["calling_ae"],
            f"{row['rule']} → {row['recipe']}" if row["recipe"] else row["map_by"] or "",
            moment(row["changed_at"]),
            row["sentence"] or under_way(row) or waited_for(row),
        )
    out.print(table)


def listing(session: Session, series: Series) -> dict[str, Any]:
    """Return a series' row; that of a further map with the SeriesInstanceUID of its series."""
    return series.as_dict() | {"series_instance_uid": db.series.uid_of(session, series)}


def show_series(text: str, config: Path, as_json: bool) -> None:
    """Print everything about one series.

    Raises
    ------
    UnknownSeries
        `text` names no series and no object made from one.
    """
    with reading(config) as session:
        found = db.provenance.find_series(session, text)
        if not found:
            raise UnknownSeries(f"The record holds no series {text!r}; `lodestone list` shows all.")
        stories = [story(session, series) for series in found]
    if as_json:
        print_json(stories[0] if len(stories) == 1 else stories)
        return
    for one in stories:
        print_story(one)


def story(session: Session, series: Series) -> dict[str, Any]:
    """Return a series with its instances, its newest run and its events."""
    run = db.runs.find(session, series.key, series.revision)
    return {
        **listing(session, series),
        "instances": [instance.as_input() for instance in db.instances.of_series(session, [series.source_key])],
        "beside": db.provenance.beside(session, series),
        "run": db.provenance.of_run(session, run) if run else None,
        "revisions": db.provenance.revisions(session, [series.key]).get(series.key, []),
        "events": [event.as_dict() for event in db.audit.list_events(session, series.key)],
    }


def print_story(one: dict[str, Any]) -> None:
    """Print a series' story for a person."""
    head = Table.grid(padding=(0, 2))
    head.add_row("series", Text(one["key"], style="bold"))
    head.add_row("state", styled_state(one["state"]))
    head.add_row("SeriesInstanceUID", one["series_instance_uid"] or "")
    head.add_row("arrived", f"{one['n_instances']} instances from {one['calling_ae']}, {moment(one['created_at'])}")
    for label, value in (("complete", one["completeness"]), ("why", one["sentence"] or under_way(one))):
        if value:
            head.add_row(label, value)
    if one["recipe"]:
        head.add_row("rule", f"{one['rule']} → recipe {one['recipe']} → {', '.join(one['destinations']) or 'nobody'}")
    for other in one["beside"]:
        head.add_row("also mapped", f"as {other['key']} by recipe {other['recipe']}: {other['state']}")
    for earlier in (made for made in one["revisions"] if made["revision"] != one["revision"]):
        head.add_row(f"revision {earlier['revision']}", earlier_revision(earlier))
    head.add_row(f"revision {one['revision']}", "the present one")
    out.print(head)
    if one["run"]:
        print_run(one["run"])
    print_events(one["events"])


def print_run(run: dict[str, Any]) -> None:
    """Print what a run made, who has it, and how it was made."""
    made = Counter(output["kind"] for output in run["outputs"])
    rows = Table.grid(padding=(0, 2))
    rows.add_row("made", in_kinds(made) or "nothing yet")
    for peer, entry in run["peers"].items():
        rows.add_row(f"to {peer}", in_states(entry))
        if entry.get("sentence"):
            rows.add_row("", Text(entry["sentence"], style="yellow"))
    for asked in run["commitments"]:
        rows.add_row("commitment", transaction(asked))
    rows.add_row("recipe", f"{run['recipe']['name']}, SHA-256 {run['recipe']['digest']}")
    rows.add_row("inputs", f"{len(run['inputs'])} instances, SHA-256 {run['input_digest']}")
    rows.add_row("software", ", ".join(f"{name} {version}" for name, version in flat(run["software"])))
    rows.add_row("device", run["device"])
    for name, sha256 in run["quality"].get("weights", {}).items():
        rows.add_row("weights", f"{name}, SHA-256 {sha256}")
    if run["quality"].get("weights"):
        rows.add_row("map", run["quality"]["susceptibility_source"])
    for name, value in run["quality"].get("figures", {}).items():
        rows.add_row(words(name), f"{value:.4g}")
    for warning in run["quality"].get("warnings", ()):
        rows.add_row(Text("warning", style="yellow"), warning)
    for finding in (one for one in run["quality"].get("findings", ()) if not one["is_warning"]):
        rows.add_row(Text("check", style="green"), finding["sentence"])
    if run["seal"]:
        intact = "intact" if run["seal"]["is_intact"] else "BROKEN"
        rows.add_row("seal", f"{run['seal']['sha256']} ({intact})")
    out.print(rows)
    if run["regions"]:
        print_regions([in_ppb(region) for region in run["regions"]])


def in_kinds(made: Mapping[str, int]) -> str:
    """Return how many objects of which kind were made."""
    return ", ".join(f"{count} × {kind}" for kind, count in made.items())


def in_revisions(row: dict[str, Any]) -> str:
    """Return a series' revision, and those before it whose maps exist as well."""
    mapped = [str(one["revision"]) for one in row["revisions"] if one["made"] and one["revision"] != row["revision"]]
    return f"{row['revision']} after {', '.join(mapped)}" if mapped else str(row["revision"])


def earlier_revision(one: dict[str, Any]) -> str:
    """Return in a line what an earlier revision was made from and has made."""
    made = in_kinds(one["made"]) or "nothing: it was overtaken by a newer one"
    return f"of {one['n_inputs']} instances, {moment(one['performed_at'])}, made {made}"


def in_ppb(region: dict[str, Any]) -> dict[str, Any]:
    """Return a region's values [ppm], as the record keeps them, in ppb."""
    return {
        **region,
        **{f"{name}_ppb": 1000.0 * region[name] for name in ("mean", "sd", "median")},
        **trust_in_ppb(region),
    }


def print_audit(config: Path, text: str | None, limit: int | None, as_json: bool) -> None:
    """Print events, the oldest first."""
    with reading(config) as session:
        subjects: list[str | None] = [text]
        if text:
            # One UID may name several maps of a series; the events of all are told in their one order.
            subjects = [series.key for series in db.provenance.find_series(session, text)] or [text]
        found = [event for subject in subjects for event in db.audit.list_events(session, subject, limit)]
        events = [event.as_dict() for event in sorted(found, key=lambda event: event.number)[-(limit or 0) :]]
    if as_json:
        print_json(events)
        return
    print_events(events)


def print_events(events: list[dict[str, Any]]) -> None:
    """Print events as a table; many of one kind in a row become two, the first and the last."""
    table = Table("#", "when", "event", "series", "what", box=None, pad_edge=False)
    for _, group in itertools.groupby(events, key=lambda event: (event["event"], event["subject"])):
        alike = list(group)
        shown = alike if len(alike) <= MOST_ALIKE else [alike[0], alike[-1]]
        for event in shown:
            if event is not shown[0] and len(alike) > MOST_ALIKE:
                table.add_row("", "", f"… {len(alike) - 2} more …")
            table.add_row(
                str(event["number"]),
                moment(event["at"]),
                event["event"],
                event["subject"],
                details_of(event["details"]),
            )
    out.print(table)


def details_of(details: dict[str, Any]) -> str:
    """Return an event's details in one line; digests and long lists are shortened, JSON has them whole."""
    shown = []
    for name, value in flat(details):
        if value is not None and str(value):
            shown.append(f"{words(name)} {shortened(str(value))}")
    return ", ".join(shown)


def shortened(text: str) -> str:
    """Return a digest's or UID's beginning, and a sentence's beginning only where it is very long."""
    longest = LONGEST_SENTENCE if " " in text else LONGEST_DIGEST
    return text if len(text) <= longest else f"{text[:longest]}…"


def verify_audit(config: Path, as_json: bool) -> None:
    """Check the hash chain of the audit; exit 1 if a row was changed or is missing."""
    with reading(config) as session:
        found = db.audit.verify(session)
    if as_json:
        print_json(
            {"is_intact": found.is_intact, "n_rows": found.n_rows, "first_bad": found.first_bad, "head": found.head}
        )
    else:
        out.print(Text(found.sentence, style="green" if found.is_intact else "bold red"))
        out.print(f"head {found.head}")
    if not found.is_intact:
        sys.exit(FAILED)


def print_provenance(sop_instance_uid: str, config: Path, as_json: bool) -> None:
    """Print where an object came from and who holds it."""
    with reading(config) as session:
        known = db.provenance.of_instance(session, sop_instance_uid)
    if as_json:
        print_json(known)
        return
    made = known["object"]
    out.print(f"{made['kind']} {made['SOPInstanceUID']}", style="bold", soft_wrap=True)
    out.print(f"SHA-256 {made['sha256']}, made {moment(known['performed_at'])} from series {known['series']['key']}")
    print_run(known)
    table = Table("input SOPInstanceUID", "SHA-256", box=None, pad_edge=False)
    for source in known["inputs"]:
        table.add_row(str(source.get("SOPInstanceUID", "")), str(source.get("sha256", "")))
    out.print(table)


def flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested tables with their names joined by spaces."""
    leaves: list[tuple[str, Any]] = []
    for name, inner in value.items():
        path = f"{prefix} {name}".strip()
        if isinstance(inner, dict):
            leaves += flat(inner, path)
        else:
            leaves.append((path, listed(inner) if isinstance(inner, list) else inner))
    return leaves


def listed(values: list[Any]) -> str:
    """Return a short list whole, and of a long one the first entry and how many there are."""
    return "; ".join(map(str, values)) if len(values) <= 3 else f"{len(values)} from {shortened(str(values[0]))}"


def styled_state(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=STATE_STYLES.get(state, "cyan"))


def moment(text: str | None) -> str:
    """Return a time for reading, in local time."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S") if text else ""


def in_states(entry: dict[str, Any]) -> str:
    """Return how many objects a peer has in which state, and what proves it; nothing that is not."""
    proofs = {"committed": "committed", "found": "found by query", "answered": "on the answer to the store alone"}
    proved = ", ".join(f"{entry[name]} {meaning}" for name, meaning in proofs.items() if entry[name])
    states = {
        "delivered": f"{entry['delivered']} delivered ({proved})",
        "accepted": f"{entry['accepted']} accepted, not yet committed",
        "pending": f"{entry['pending']} pending",
        "refused": f"{entry['refused']} refused ({', '.join(words(kind) for kind in entry.get('refused_kinds', ()))})",
        "failed": f"{entry['failed']} failed",
    }
    again = [f"{entry['resends']} sent again"] if entry["resends"] else []
    return ", ".join([*(text for state, text in states.items() if entry[state]), *again])


def transaction(asked: dict[str, Any]) -> str:
    """Return one request for storage commitment in a line."""
    said = f"{asked['n_committed']} committed, {asked['n_failed']} not, " if asked["state"] == "answered" else ""
    when = moment(asked["answered_at"] or asked["requested_at"])
    return f"{asked['peer']}: {asked['n_asked']} objects asked for, {said}{asked['state']} {when}"


def waited_for(row: dict[str, Any]) -> str:
    """Return what a series waits for: more images, or peers."""
    if row["state"] == "received":
        return str(row["completeness"])
    if row["state"] == "encoded":
        return "; ".join(f"{peer}: {in_states(entry)}{why_pending(entry)}" for peer, entry in row["peers"].items())
    return ""


def why_pending(entry: dict[str, Any]) -> str:
    """Return why a peer does not have everything yet, where it said so."""
    return f" ({entry['sentence']})" if entry["pending"] and entry.get("sentence") else ""


def under_way(row: dict[str, Any]) -> str:
    """Return which step runs and how far it is."""
    if not row["progress_step"]:
        return ""
    return f"{words(row['progress_step'])} {100 * (row['progress_fraction'] or 0):.0f} %"
