"""The peers' phantom is read as a case, and limits are judged by what was measured on it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.studies.accuracy_bench import Result
from pipeline.studies.cases import Case
from pipeline.studies.peer_phantom import read_peer_phantom, with_field_strength, with_snr
from pipeline.studies.resources import Cost
from pipeline.studies.speed_bench import Timing
from pipeline.studies.step_scores import CHAIN, STEP_SCORES
from pipeline.studies.targets import (
    PAIRS,
    ROBUST_BEST,
    TARGETS,
    TIMES_WARPKIT,
    Target,
    judged_accuracy,
    judged_speed,
    needed_methods,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_case: Case) -> Path:
    """Write a tiny scan in the layout of the peers' phantom."""
    scan, images = tiny_case.scan, tiny_case.scan.acquisition
    volumes = {
        "field_total": scan.total_field,
        "field_local": scan.local_field,
        "chi": scan.susceptibility,
        "mask": scan.brain.to(torch.uint8),
        "labels": scan.labels.clamp_max(12),
        "mag": images.magnitude,
        "phase": images.phase,
    }
    place = tmp_path_factory.mktemp("phantom")
    arrays = {name: volume.numpy().T for name, volume in volumes.items()}
    np.savez(place / "phantom.npz", **arrays, TE=images.echo_times_s, B0=3.0, vox=(5.0, 5.0, 5.0))
    return place


def test_the_phantom_is_read_with_its_axes_noise_and_offset(folder: Path, tiny_case: Case) -> None:
    case = read_peer_phantom(folder)
    assert case.grid.shape == tiny_case.grid.shape
    assert torch.equal(case.scan.susceptibility, tiny_case.scan.susceptibility)
    assert case.protocol.snr == pytest.approx(80.0, rel=0.25)
    difference = torch.polar(torch.ones_like(case.offset), case.offset - tiny_case.offset)[case.depth_mm > 15]
    assert float(difference.angle().abs().median()) < 0.05


def test_a_folder_without_the_phantom_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match=r"no phantom\.npz"):
        read_peer_phantom(tmp_path)
    np.savez(tmp_path / "phantom.npz", chi=np.zeros((4, 4, 4)))
    with pytest.raises(UnusableInput, match="lacks field_total"):
        read_peer_phantom(tmp_path)


def test_a_stronger_field_turns_faster_and_a_lower_snr_is_noisier(folder: Path) -> None:
    case = read_peer_phantom(folder)
    strong, noisy = with_field_strength(case, 7.0), with_snr(case, 10.0)
    assert strong.context.b0_tesla == 7.0
    turns = [float(scan.turns[-1][scan.mask].abs().mean()) for scan in (case, strong)]
    assert turns[1] > 1.5 * turns[0]
    noise = [float(scan.field_noise[scan.mask].median()) for scan in (case, noisy)]
    assert noise[1] == pytest.approx(8 * noise[0], rel=0.35)


def test_every_target_names_a_figure_that_its_step_has() -> None:
    for target in TARGETS:
        if not target.is_speed:
            assert target.figure in {column.key for column in STEP_SCORES[target.step].columns}
    assert (CHAIN, "default") in needed_methods(TARGETS)


def test_a_limit_is_kept_missed_or_not_measured() -> None:
    targets = (
        Target("dipole_inversion", "tkd", "nrmse", 40.0),
        Target("dipole_inversion", "tkd", "slope", 0.04, "1", "one"),
        Target("dipole_inversion", "tkd", "kept", 95.0, good="high"),
        Target("dipole_inversion", "nobody", "nrmse", 40.0),
    )
    scores = {"nrmse": 39.0, "slope": 0.95, "kept": 96.0}
    reached = judged_accuracy(targets, {"": [Result("dipole_inversion", "tkd", "c", "f", scores)]})
    assert [entry.is_kept for entry in reached] == [True, False, True, False]
    assert reached[-1].measured is None
    assert [target.sentence for target in targets[:3]] == ["≤ 40 %", "0.96 – 1.04", "≥ 95 %"]


def test_the_best_background_removal_is_the_best_that_keeps_the_brain() -> None:
    step = "background_field_removal"
    results = [
        Result(step, "narrow", "c", "f", {"deep_nrmse": 10.0, "kept": 71.0}),
        Result(step, "wide", "c", "f", {"deep_nrmse": 24.0, "kept": 99.0}),
        Result(step, "worse", "c", "f", {"deep_nrmse": 40.0, "kept": 100.0}),
    ]
    (reached,) = judged_accuracy((Target(step, ROBUST_BEST, "deep_nrmse", 25.0),), {"": results})
    assert (reached.method, reached.measured, reached.is_kept) == ("wide", 24.0, True)


def test_speed_is_judged_in_pairs_and_beside_warpkit() -> None:
    targets = (
        Target("dipole_inversion", "tkd", PAIRS, 3, "pairs"),
        Target("phase_unwrapping", "romeo", TIMES_WARPKIT, 1.5, "× warpkit"),
        Target("dipole_inversion", "l2", PAIRS, 5, "pairs"),
    )
    timings = [Timing("dipole_inversion", "tkd", (8, 8, 8), Cost(1.0, 2.5, 1.0))]
    reached = judged_speed(targets, timings, {TIMES_WARPKIT: 1.7})
    assert [entry.measured for entry in reached] == [2.5, 1.7, None]
    assert [entry.is_kept for entry in reached] == [True, False, False]
