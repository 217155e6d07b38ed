"""`lodestone check`: print what an installer should know, one line per finding."""

import sys
from dataclasses import asdict
from pathlib import Path

from rich.text import Text

from node.commands.console import FAILED, out, print_json
from node.installation_check import check
from node.installation_finding import Finding, Level
from node.settings import load_settings

MARKS = {Level.OK: ("✓", "green"), Level.WARNING: ("!", "yellow"), Level.PROBLEM: ("✗", "bold red")}


def check_site(config: Path, as_json: bool) -> None:
    """Look at everything and exit 1 if there is a problem."""
    findings: list[Finding] = []
    for finding in check(load_settings(config)):
        findings.append(finding)
        if not as_json:
            _print(finding)
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    if as_json:
        print_json({"is_ready": problems == 0, "findings": [asdict(finding) for finding in findings]})
    else:
        ready = f"Ready: lodestone serve -c {config}"
        out.print(f"{problems} to be put right before the node can work." if problems else ready, soft_wrap=True)
    if problems:
        sys.exit(FAILED)


def _print(finding: Finding) -> None:
    mark, style = MARKS[finding.level]
    out.print(Text.assemble((f"{mark} ", style), (f"{finding.what:<10} ", "bold"), finding.sentence), soft_wrap=True)
    if finding.remedy:
        out.print(Text(f"{'':<13}→ {finding.remedy}", style=style), soft_wrap=True)
