"""A quick method in the place of lodestone_net: truncated division with a twin, a spread, a cone part and a finding.

Random weights lie in a folder of the test's own, so that a recipe with a network runs whatever is committed.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

import pipeline.run
from pipeline.maps import CLASSICAL_SUSCEPTIBILITY, CONE_PART, SUSCEPTIBILITY_SPREAD
from pipeline.method import LEARNED_MAP_USED, Finding, Method, NoSettings, StepContext
from pipeline.methods import STEPS
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import store_weights, verified_digest, weights_digest
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import load_calibration

NAME = "lodestone_net"
SHIFT_PPM, SPREAD_PPM = 0.03, 0.01
PASSED = Finding("noise", "The map explains the field.", {LEARNED_MAP_USED: 1.0}, is_warning=False)
FAILED = Finding("envelope", "The voxels are larger than any in the training.")
FELL_BACK = Finding("source", "The susceptibility is the classical map.", {LEARNED_MAP_USED: 0.0})


def folder_with_weights(folder: Path) -> Path:
    """Store random weights in a folder."""
    torch.manual_seed(5)
    store_weights(NAME, NETWORKS[NAME].make().state_dict(), folder)
    return folder


def use_weights_of(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let runs look for weights, and for what was calibrated with them, in a folder of the test."""
    monkeypatch.setattr(pipeline.run, "verified_digest", partial(verified_digest, folder=folder))
    monkeypatch.setattr(pipeline.run, "load_calibration", partial(load_calibration, folder=folder))


def use_stub(monkeypatch: pytest.MonkeyPatch, folder: Path, *findings: Finding) -> str:
    """Put the quick method into the table and random weights into a folder; return their SHA-256."""
    direct = STEPS["dipole_inversion"]["tkd"]

    def invert(artefacts: Mapping[str, Tensor], context: StepContext, _: NoSettings) -> dict[str, Tensor]:
        found, mask = direct.run(artefacts, context, direct.settings())["susceptibility"], artefacts["mask"]
        for finding in findings:
            assert context.on_finding is not None
            context.on_finding(finding)
        twin = torch.where(mask, 0.9 * found + SHIFT_PPM, 0.0)
        is_used = any(finding.figures.get(LEARNED_MAP_USED) for finding in findings)
        return {
            "susceptibility": found if is_used else twin,
            CLASSICAL_SUSCEPTIBILITY: twin,
            SUSCEPTIBILITY_SPREAD: torch.where(mask, SPREAD_PPM, 0.0),
            CONE_PART: 0.3 * found,
        }

    outputs = ("susceptibility", CLASSICAL_SUSCEPTIBILITY, SUSCEPTIBILITY_SPREAD, CONE_PART)
    stub = Method(NAME, "2026", invert, NoSettings, ("local_field", "mask"), outputs, learned=True)
    monkeypatch.setitem(STEPS["dipole_inversion"], NAME, stub)
    use_weights_of(monkeypatch, folder_with_weights(folder))
    # The quick method has nothing to calibrate.
    monkeypatch.setattr(pipeline.run, "load_calibration", lambda name: None)
    return weights_digest(NAME, folder)
