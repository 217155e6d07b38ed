"""`lodestone route`: print which rule would take some files, and why the others would not."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from node.commands.console import counted, out, print_json
from node.commands.inspect import rules_to_go_by
from node.routes import Route, routes, told
from node.routing import Choice, Judgement
from node.rule_settings import Match

NODE_TOML = Path("node.toml")


def explain_routes(files: Sequence[Path], config: Path | None, as_json: bool) -> None:
    """Print, for every series in some files, what each rule says of it and what would become of it."""
    settings, rules = rules_to_go_by(config, NODE_TOML)
    found = routes(files, settings)
    if as_json:
        print_json({"rules": rules, "match": settings.routing.match, "series": [_document(route) for route in found]})
        return
    out.print(f"By {rules}; match = {settings.routing.match!r}.", style="dim", soft_wrap=True)
    for route in found:
        _print(route, settings.routing.match)
    out.print("Whether the images can be mapped: `lodestone inspect FOLDER`.", style="dim", soft_wrap=True)


def _print(route: Route, match: Match) -> None:
    out.print(Text.assemble((route.series, "bold"), f"  {counted(route.n_files, 'file')}"), soft_wrap=True)
    is_decided = False
    for judgement in route.judgements:
        said = _verdict(judgement, is_decided and match == "first")
        mark = ("✓ ", "green") if judgement.wants else ("✗ ", "dim")
        out.print(Text.assemble("  ", mark, (judgement.rule.name, "bold"), f": {said}"), soft_wrap=True)
        for answer in judgement.answers:
            out.print(f"      {'holds' if answer.holds else 'fails'}: {told(answer)}", soft_wrap=True)
        is_decided = is_decided or judgement.wants
    for sentence in outcomes(route):
        out.print(Text.assemble("  → ", sentence), soft_wrap=True)


def _verdict(judgement: Judgement, is_late: bool) -> str:
    if not judgement.wants:
        n_failing = sum(not answer.holds for answer in judgement.answers)
        return f"does not want it: {n_failing} of {counted(len(judgement.answers), 'condition')} not fulfilled"
    wants = "wants it ignored" if judgement.rule.ignore else "wants it"
    if not judgement.answers:
        wants += " (it asks for nothing)"
    return f"{wants}, but an earlier rule has decided" if is_late else wants


def outcomes(route: Route) -> list[str]:
    """Return what would become of a series, in one sentence for every map."""
    if not route.choices:
        return [f"Not mapped. {route.reason}"]
    return [_outcome(choice) for choice in route.choices]


def _outcome(choice: Choice) -> str:
    where = ", ".join(choice.destinations) or "nobody: no destination is named"
    return (
        f"Rule {choice.rule!r}: recipe {choice.recipe}, {choice.priority}, encoding {choice.encoding}, sent to {where}."
    )


def _document(route: Route) -> dict[str, Any]:
    return {
        "series": route.series,
        "SeriesInstanceUID": route.series_uid,
        "n_files": route.n_files,
        "choice": asdict(route.choices[0]) if route.choices else None,
        "further": [asdict(choice) for choice in route.choices[1:]],
        "reason": route.reason,
        "class": route.reason_class,
        "sentence": " ".join(outcomes(route)),
        "rules": [
            {
                "name": judgement.rule.name,
                "wants": judgement.wants,
                "conditions": [{"holds": answer.holds, "sentence": told(answer)} for answer in judgement.answers],
            }
            for judgement in route.judgements
        ],
    }
