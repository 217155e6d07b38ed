"""`lodestone step`: run one step, or one of QSM-CI's stages, alone on NIfTI files."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text
from torch import Tensor

from node.commands.console import StepDisplay, out, print_json
from node.convert import choose_device
from node.local_run import use_threads
from node.nifti import sha256_of
from node.software import software
from node.step_files import (
    STAGES,
    StepFiles,
    StepInput,
    beside,
    is_file_name,
    parse_settings,
    read_step_input,
    write_artefacts,
)
from pipeline.errors import UnknownMethod
from pipeline.method import Finding, Method, OnFinding, StepContext, nearest, resolve_settings
from pipeline.methods import STEPS
from pipeline.networks.weights import verified_digest
from pipeline.recipe import builtin_recipe, find_method

Chain = list[tuple[str, Method, Any]]
DOCUMENT = "step.json"


def run_step(
    name: str,
    method: str | None,
    given: StepFiles,
    settings: Sequence[str],
    target: Path,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Run a step or stage, write what it makes to `target`, and print what was written."""
    chain = choose(name, method, settings)
    use_threads(threads)
    made = [artefact for _, way, _ in chain for artefact in way.outputs]
    needed, optional = inputs_of(chain)
    with StepDisplay(f"Step {name}", tuple(step for step, _, _ in chain), as_json) as display:
        started = time.perf_counter()
        loaded = read_step_input(given, needed, optional, choose_device(device))
        findings: list[Finding] = []
        artefacts = run_chain(chain, loaded, display, findings.append)
    paths = write_artefacts(target, artefacts, dict.fromkeys(made), loaded.affine)
    document = {
        "steps": [
            {"step": step, "method": way.name, "citation": way.citation, "settings": asdict(values)}
            for step, way, values in chain
        ],
        "inputs": {
            artefact: [{"path": str(path), "sha256": sha256_of(path)} for path in found]
            for artefact, found in loaded.paths.items()
        },
        "weights": {way.name: verified_digest(way.name) for _, way, _ in chain if way.learned},
        "findings": [asdict(finding) for finding in findings],
        "files": [{"path": path.name, "sha256": sha256_of(path)} for path in paths],
        "software": software(),
        "seconds": {**display.seconds, "total": round(time.perf_counter() - started, 3)},
    }
    record = beside(target, ".json") if is_file_name(target) else target / DOCUMENT
    record.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    if as_json:
        print_json(document)
        return
    for finding in findings:
        style = "bold yellow" if finding.is_warning else "bold green"
        out.print(Text.assemble((finding.name, style), f"  {finding.sentence}"), soft_wrap=True)
    for path in paths:
        out.print(str(path), soft_wrap=True)


def choose(name: str, method: str | None, settings: Sequence[str]) -> Chain:
    """Return the steps behind a name with their methods and complete settings.

    A stage of several steps takes each step's method from the default recipe.

    Raises
    ------
    UnknownMethod
        The step, the method or a setting does not exist; the sentence names the nearest right one.
    """
    steps = STAGES.get(name, (name,))
    if any(step not in STEPS for step in steps):
        raise UnknownMethod(f"There is no step '{name}'; {nearest(name, (*STEPS, *STAGES))}")
    if len(steps) > 1:
        if method is not None or settings:
            raise UnknownMethod(f"'{name}' is {' + '.join(steps)}; choose methods and settings for one step at a time.")
        recipe = builtin_recipe("default")
        return [(step, recipe.method_of(step), recipe.settings_of(step)) for step in steps]
    way = find_method(steps[0], method or next(iter(STEPS[steps[0]])))
    return [(steps[0], way, resolve_settings(way, parse_settings(settings), f"step '{name}'"))]


def inputs_of(chain: Chain) -> tuple[list[str], list[str]]:
    """Return the artefacts that a chain needs from outside, and those it can use."""
    made: set[str] = set()
    needed: dict[str, None] = {}
    optional: dict[str, None] = {}
    for _, way, _ in chain:
        needed |= dict.fromkeys(name for name in way.inputs if name not in made)
        optional |= dict.fromkeys(name for name in way.optional_inputs if name not in made)
        made.update(way.outputs)
    return list(needed), [name for name in optional if name not in needed]


def run_chain(
    chain: Chain, loaded: StepInput, display: StepDisplay, on_finding: OnFinding | None = None
) -> dict[str, Tensor]:
    """Run methods one after another on the artefacts, and return all artefacts; findings are told as they are made."""
    artefacts = dict(loaded.artefacts)
    for step, way, values in chain:
        display.update(step, 0.0)
        context = StepContext(
            loaded.grid,
            loaded.echo_times_s,
            loaded.b0_tesla,
            partial(display.update, step),
            loaded.b0_directions,
            on_finding,
        )
        artefacts.update(way.apply(artefacts, context, values))
        display.update(step, 1.0)
    return artefacts
