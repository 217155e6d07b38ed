"""Raw data of a real scanner become images: a phantom's gradient echo, and its echo-planar scan without its ghost."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dicom_io.kspace.twix import read_twix
from node.kspace_convert import epi_readouts, to_kspace
from pipeline.operators.centred_fourier import to_image
from pipeline.reconstruction.epi import EpiReadouts, sort_epi

pytestmark = pytest.mark.golden
SCANS = "kspace_siemens_skyra_twix"


def brightness(kspace) -> torch.Tensor:
    """Return the root of the coils' sum of squares `(y, x)` of the only slice."""
    return to_image(kspace.samples)[0].abs().square().sum(0).sqrt()[0]


def regions(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return where the phantom, where only its ghost, and where neither can be: it fills a circle of the view."""
    n_y, n_x = image.shape
    y, x = torch.meshgrid(torch.arange(n_y) - n_y / 2 - 1, torch.arange(n_x) - n_x / 2, indexing="ij")
    outside = torch.hypot(y, x) > 0.525 * n_y
    from_ghost = torch.hypot(y.abs() - n_y / 2, x)
    return image > 0.25 * image.quantile(0.9), outside & (from_ghost < 0.42 * n_y), outside & (from_ghost > 0.525 * n_y)


def ghost(image: torch.Tensor) -> float:
    """Return the ghost above the noise as a share of the phantom's signal."""
    phantom, ghosted, empty = regions(image)
    above = (image[ghosted].square().mean() - image[empty].square().mean()).clamp_min(0).sqrt()
    return float(above / image[phantom].mean())


@pytest.fixture(scope="module")
def echo_planar(data_dir: Path) -> EpiReadouts:
    return epi_readouts(read_twix(data_dir / SCANS / "epi.dat"))


def test_the_gradient_echo_shows_a_bright_phantom_in_dark_air(data_dir: Path) -> None:
    kspace = to_kspace(read_twix(data_dir / SCANS / "gre.dat"), needs_noise=False).kspace
    image = brightness(kspace)
    assert image.shape == (160, 160)
    phantom, _, empty = regions(image)
    assert 0.45 < float(phantom.float().mean()) < 0.8
    assert float(image[empty].mean() / image[phantom].mean()) < 0.15


def test_the_echo_planar_scan_loses_its_ghost_by_navigators_and_without(echo_planar: EpiReadouts) -> None:
    assert echo_planar.navigators is not None
    silent = replace(echo_planar.navigators, samples=torch.ones_like(echo_planar.navigators.samples))
    with_navigators = ghost(brightness(sort_epi(echo_planar)[0]))
    without = ghost(brightness(sort_epi(replace(echo_planar, navigators=None))[0]))
    assert with_navigators < 0.02
    assert without < 0.02
    assert sort_epi(echo_planar)[1].ghost_share < 0.01
    assert ghost(brightness(sort_epi(replace(echo_planar, navigators=silent))[0])) < 0.02


def test_both_scans_show_the_same_phantom(data_dir: Path, echo_planar: EpiReadouts) -> None:
    gradient = brightness(to_kspace(read_twix(data_dir / SCANS / "gre.dat"), needs_noise=False).kspace)
    half = torch.nn.functional.avg_pool2d(gradient[None], 2)[0]
    planar = brightness(sort_epi(echo_planar)[0])
    pair = torch.stack((half.flatten(), planar.flatten()))
    assert float(torch.corrcoef(pair)[0, 1]) > 0.9
