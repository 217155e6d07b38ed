"""What a method costs is measured, not stated; growth is fitted over sizes."""

import math

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import Method, NoSettings
from pipeline.methods import STEPS
from pipeline.recipe import parse_recipe
from pipeline.studies.cases import Case
from pipeline.studies.gpu_bench import run_on
from pipeline.studies.peers import PEERS, Peer, PeerFailed, time_peers
from pipeline.studies.resources import Cost, fft_pair_seconds, measured
from pipeline.studies.speed_bench import MILLIONS, Timing, growth, scaled_protocol, time_methods

SHAPE = (64, 128, 128)
QUICK_CHAIN = {
    "phase_offset_removal": "mcpc_3d_s",
    "masking": "phase_quality",
    "phase_unwrapping": "romeo",
    "echo_combination": "weighted_linear_fit",
    "background_field_removal": "v_sharp",
    "dipole_inversion": "tkd",
}


def take_volumes(count: int) -> float:
    held = [torch.ones(SHAPE) for _ in range(count)]
    return sum(float(volume.sum()) for volume in held)


def test_memory_is_counted_in_volumes_beside_what_was_there() -> None:
    inputs = [torch.ones(SHAPE) for _ in range(6)]
    result, cost = measured(lambda: take_volumes(8), SHAPE)
    if math.isnan(cost.peak_volumes):
        pytest.skip("This system does not tell the peak of a process's memory.")
    assert result == 8 * math.prod(SHAPE)
    assert cost.peak_volumes == pytest.approx(8, abs=1.5)
    assert len(inputs) == 6


def test_time_is_counted_in_the_transforms_of_the_same_volume() -> None:
    volume = torch.randn(SHAPE)

    def five_pairs() -> None:
        for _ in range(5):
            torch.fft.irfftn(torch.fft.rfftn(volume), s=SHAPE)

    assert fft_pair_seconds(SHAPE) > 0
    assert 1 < measured(five_pairs, SHAPE, repeats=3)[1].fft_pairs < 25


def test_a_method_is_timed_with_its_own_iterations_and_scored(monkeypatch, tiny_case: Case) -> None:
    def three_rounds(artefacts, context, settings):
        for fraction in (0.1, 0.5, 1.0):
            context.on_iteration(fraction)
        return {"susceptibility": artefacts["local_field"]}

    def refusing(artefacts, context, settings):
        raise UnusableInput("No.")

    inputs, outputs = ("local_field", "mask"), ("susceptibility",)
    ways = {
        "rounds": Method("rounds", "nobody", three_rounds, NoSettings, inputs, outputs, memory_volumes=2.0),
        "refusing": Method("refusing", "nobody", refusing, NoSettings, inputs, outputs),
    }
    monkeypatch.setitem(STEPS, "dipole_inversion", ways)
    timed, refused = time_methods(tiny_case, [("dipole_inversion", "rounds"), ("dipole_inversion", "refusing")])
    assert timed.cost is not None
    assert timed.cost.seconds > 0
    assert (timed.n_iterations, timed.stated_volumes) == (3, 2.0)
    assert timed.scores["kept"] == 100.0
    assert (refused.cost, refused.remark) == (None, "refused: No.")


@pytest.mark.parametrize("power", [1.0, 1.5])
def test_growth_finds_the_power_of_n_log_n(power: float) -> None:
    timings = []
    for millions in MILLIONS:
        shape = scaled_protocol(millions).shape
        size = math.prod(shape)
        cost = Cost(1e-7 * (size * math.log(size)) ** power, 1.0, 1.0)
        timings.append(Timing("dipole_inversion", "any", shape, cost))
    assert growth(timings) == pytest.approx(power)
    assert math.isnan(growth(timings[:1]))


@pytest.mark.parametrize("millions", MILLIONS)
def test_scaled_scans_have_about_the_voxels_asked_for(millions: float) -> None:
    assert math.prod(scaled_protocol(millions).shape) == pytest.approx(1e6 * millions, rel=0.05)


def test_peers_that_are_there_unwrap_and_the_others_are_named_with_their_command(monkeypatch, tiny_case: Case) -> None:
    def failing(case: Case):
        raise PeerFailed("out of paper")

    absent = Peer("absent", "pip install absent", lambda: False, failing)
    broken = Peer("broken", "pip install broken", lambda: True, failing)
    monkeypatch.setattr("pipeline.studies.peers.PEERS", (*PEERS, absent, broken))
    found = {timing.name.split(" ")[0]: timing for timing in time_peers(tiny_case)}
    assert found["absent"].remark == "not installed: pip install absent"
    assert found["broken"].remark == "failed: out of paper"
    assert set(found) == {"warpkit", "niimath", "scikit-image", "absent", "broken"}
    for name in ("warpkit", "niimath", "scikit-image"):
        timing = found[name]
        if timing.remark.startswith("not installed: pip install"):
            continue
        assert timing.seconds > 0
        assert timing.scores is not None
        assert timing.scores["wrong_percent"] < 8


def test_a_chain_on_a_device_tells_the_time_of_each_step(tiny_case: Case) -> None:
    lines = "\n".join(f'[{step}]\nmethod = "{method}"' for step, method in QUICK_CHAIN.items())
    done = run_on("cpu", tiny_case.scan.acquisition, parse_recipe(f'name = "quick"\n{lines}'))
    assert {"phase_unwrapping", "background_field_removal", "dipole_inversion"} <= set(done.seconds)
    assert all(seconds >= 0 for seconds in done.seconds.values())
    assert done.n_echoes == 5
