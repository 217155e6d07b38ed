"""Our own map is given where every gate is passed; else its classical twin is, and the reason is told."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.method import LEARNED_MAP_USED, Finding, StepContext
from pipeline.networks.table import NETWORKS
from pipeline.susceptibility.dipole_inversion.learned import lodestone_map
from pipeline.susceptibility.dipole_inversion.learned.gates import GateLimits
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import (
    LODESTONE_NET,
    LodestoneSettings,
    trusted_map,
)
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import TrustCalibration
from tests.pipeline.susceptibility.dipole_inversion.learned.calibrations import (
    ANY_INPUT,
    ANY_MAP,
    calibration,
    let_small_scans_through,
)
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import head, random_network, start_maps

SPEC = NETWORKS["lodestone_net"]
QUICK = LodestoneSettings(iterations=2)


@pytest.fixture(autouse=True)
def small_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    let_small_scans_through(monkeypatch)


def mapped(
    calibrated: TrustCalibration, settings: LodestoneSettings = QUICK, told: list[float] | None = None
) -> tuple[dict[str, Tensor], dict[str, Finding]]:
    found: list[Finding] = []
    listener = None if told is None else told.append
    context = StepContext(head().grid, on_iteration=listener, on_finding=found.append)
    artefacts = {**head().artefacts(), "start": start_maps()}
    made = trusted_map(SPEC, random_network("lodestone_net"), calibrated, artefacts, context, settings)
    return made, {finding.name: finding for finding in found}


def is_twin(made: dict[str, Tensor]) -> bool:
    return torch.equal(made["susceptibility"], made["classical_susceptibility"])


def test_a_map_that_passes_every_gate_is_given_with_its_twin() -> None:
    told: list[float] = []
    made, findings = mapped(calibration(), told=told)
    assert set(made) == set(LODESTONE_NET.outputs)
    assert torch.equal(made["classical_susceptibility"], start_maps()[0])
    assert not is_twin(made)
    assert not any(finding.is_warning for finding in findings.values())
    assert findings["susceptibility_source"].figures == {LEARNED_MAP_USED: 1.0}
    assert all(not values[~head().mask].any() for values in made.values())
    assert bool((made["susceptibility_spread"][head().mask] > 0).all())
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        ("consistency", replace(ANY_MAP, misfit=(0.0, 1e-3))),
        ("consistency", replace(ANY_MAP, misfit=(1e3, math.inf))),
        ("consistency", replace(ANY_MAP, misfit_to_twin=(0.0, 1e-3))),
        ("consistency", replace(ANY_MAP, misfit_to_twin=(1e3, math.inf))),
        ("change", replace(ANY_MAP, change=1e-4)),
    ],
)
def test_a_map_that_fails_a_gate_gives_way_to_its_twin(name: str, limits: GateLimits) -> None:
    made, findings = mapped(calibration(limits=limits))
    assert is_twin(made)
    assert findings[name].is_warning
    assert findings["susceptibility_source"].figures == {LEARNED_MAP_USED: 0.0}
    assert "classical map" in findings["susceptibility_source"].sentence
    kept, warned = mapped(calibration(limits=limits), replace(QUICK, falls_back=False))
    assert not is_twin(kept)
    assert warned[name].is_warning
    assert warned["susceptibility_source"].figures == {LEARNED_MAP_USED: 1.0}


def test_an_input_outside_the_envelope_is_not_shown_to_the_network() -> None:
    made, findings = mapped(calibration(usual=replace(ANY_INPUT, threshold=0.1)))
    assert is_twin(made)
    assert findings["envelope"].is_warning
    assert findings["envelope"].figures["envelope_distance"] > 0.1
    assert "consistency" not in findings
    assert "unlike this one" in findings["susceptibility_source"].sentence


def test_the_method_loads_the_weights_and_their_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(name: str, device: torch.device) -> torch.nn.Module:
        return random_network(name).to(device)

    monkeypatch.setattr(lodestone_map, "load_network", network)
    monkeypatch.setattr(lodestone_map, "load_calibration", lambda name: calibration(n_members=4))
    artefacts = {**head().artefacts(), "start": start_maps()}
    made = LODESTONE_NET.apply(artefacts, StepContext(head().grid), replace(QUICK, refinement="none"))
    expected = random_network("lodestone_net")
    alone = SPEC.invert(
        expected,
        lodestone_map.Scan(
            *(artefacts[name] for name in ("local_field", "mask")), head().grid, artefacts["field_noise"]
        ),
        start_maps(),
    )
    assert head().error_percent(made["susceptibility"]) < 100
    assert not torch.equal(made["susceptibility"], alone)
