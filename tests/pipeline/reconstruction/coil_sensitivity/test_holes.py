from dataclasses import replace

import pytest
import torch

from pipeline.method import MethodChoice
from pipeline.reconstruction import run
from pipeline.reconstruction.coil_sensitivity.espirit import espirit
from pipeline.reconstruction.coil_sensitivity.holes import fill_holes
from pipeline.reconstruction.kspace import Kspace
from pipeline.simulation.raw_scanner import acquire_kspace
from tests.pipeline.reconstruction.epi_scans import GRID, coils, round_head
from tests.pipeline.reconstruction.small_kspace import SHAPE, small_scan


def thin_ball() -> tuple[Kspace, torch.Tensor, torch.Tensor]:
    """Return the scan of a ball of six slices, its images, and where it is."""
    scan = round_head().scan
    kspace, truth = acquire_kspace(scan, coils(), torch.ones(GRID.shape[:2], dtype=torch.bool), 60.0, 3)
    return kspace, truth, scan.signal


def test_a_thin_object_keeps_its_middle() -> None:
    kspace, truth, inside = thin_ball()
    sensitivities = espirit(kspace)
    assert bool(sensitivities.ne(0).any(0)[inside].all())
    received = (coils() * truth[0])[:, inside]
    explained = sensitivities[:, inside] * torch.linalg.vecdot(sensitivities[:, inside], received, dim=0)
    assert float((received - explained).norm() / received.norm()) < 0.02


def test_a_hole_is_filled_so_that_the_coil_images_are_explained_there() -> None:
    scan = small_scan()
    whole = espirit(scan.kspace)
    hole = torch.zeros(SHAPE, dtype=torch.bool)
    hole[5:11, 10:20, 8:16] = True
    filled, share = fill_holes(scan.kspace, torch.where(hole, 0, whole))
    assert 0.02 < share < 0.5
    assert torch.equal(filled[:, ~hole], whole[:, ~hole])
    received = (scan.sensitivities * scan.images[0])[:, hole]
    explained = filled[:, hole] * torch.linalg.vecdot(filled[:, hole], received, dim=0)
    assert float((received - explained).norm() / received.norm()) < 0.2


def test_sensitivities_without_a_hole_stay_as_they_are() -> None:
    kspace = small_scan().kspace
    whole = espirit(kspace)
    filled, share = fill_holes(kspace, whole)
    assert share == 0
    assert filled is whole


def test_a_filled_hole_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    kspace = replace(small_scan().kspace)
    monkeypatch.setattr(run, "espirit", lambda scan: torch.zeros_like(scan.samples[0]))
    made = run.reconstruct(kspace, MethodChoice("cg_sense"))
    (finding,) = [finding for finding in made.findings if finding.name == "sensitivities_filled"]
    assert finding.is_warning
    assert finding.figures["percent"] == pytest.approx(100)
    assert float(made.images.abs().max()) > 1
