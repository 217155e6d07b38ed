"""Field mapping of real scanner images: the Philips head at 3 mm and the crop at 7 T."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.susceptibility.echo_combination import weighted_linear_fit
from pipeline.susceptibility.masking import brain_mask
from pipeline.susceptibility.phase_offset_removal import mcpc_3d_s
from pipeline.susceptibility.phase_unwrapping import romeo

pytestmark = pytest.mark.golden


def volume(path: Path) -> Tensor:
    """Return a NIfTI volume with its axes reversed, so that `(x, y, z, echo)` becomes `(echo, z, y, x)`."""
    return torch.from_numpy(np.ascontiguousarray(nibabel.load(path).get_fdata(dtype=np.float32).T))


@pytest.fixture(scope="module")
def philips(data_dir: Path) -> tuple[Tensor, Tensor, Grid]:
    folder = data_dir / "philips_ingenia_571_2echo_gre" / "dcm2niix_ref"
    name = "2001_WIP_fcMRI_Field_Mapping_cl_e"
    magnitude = torch.stack([volume(folder / f"{name}{echo}.nii.gz") for echo in (1, 2)])
    phase = torch.stack([volume(folder / f"{name}{echo}_ph.nii.gz") for echo in (1, 2)])
    return magnitude, phase, Grid((53, 80, 80), (3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def crop(data_dir: Path) -> tuple[Tensor, Tensor, Grid]:
    folder = data_dir / "nifti_7t_3echo_romeo"
    magnitude, phase = volume(folder / "Mag.nii"), volume(folder / "Phase.nii")
    # The header's slope is a trap: the stored values span ±π whatever it makes of them.
    phase = phase / phase.abs().max() * torch.pi
    return magnitude, phase, Grid((41, 51, 51), (1.0, 0.469, 0.469))


def test_the_mask_of_the_philips_head_has_the_volume_of_a_brain(philips: tuple[Tensor, Tensor, Grid]) -> None:
    magnitude, phase, grid = philips
    mask, _ = brain_mask(magnitude, phase, grid)
    litres = float(mask.sum()) * 0.027e-3
    assert 1.4 < litres < 1.8


def test_the_mask_of_the_philips_head_leaves_scalp_eyes_and_nose_out(philips: tuple[Tensor, Tensor, Grid]) -> None:
    magnitude, phase, grid = philips
    mask, _ = brain_mask(magnitude, phase, grid)
    head = magnitude[1] > 0.1 * magnitude[1].max()
    # The face looks towards high y; seen by eye, the eyes begin at row 60 of slices 16 to 23, the brain ends before 58.
    assert not mask[14:22, 62:].any()
    assert head[14:22, 62:].any()
    rows = torch.arange(80)[None, :, None]
    front = torch.where(head, rows, -1).amax(dim=(1, 2))
    back = torch.where(head, rows, 80).amin(dim=(1, 2))
    for z in range(25, 45):
        inside = torch.where(mask[z], rows[0], -1).amax(), torch.where(mask[z], rows[0], 80).amin()
        assert inside[0] < front[z] - 1
        assert inside[1] > back[z]


def test_the_deep_brain_of_the_philips_head_is_kept(philips: tuple[Tensor, Tensor, Grid]) -> None:
    magnitude, phase, grid = philips
    mask, _ = brain_mask(magnitude, phase, grid)
    # Basal ganglia, thalami, brainstem and cerebellum, placed by eye.
    assert mask[26:36, 28:52, 28:54].all()
    assert mask[16:24, 26:34, 36:46].all()


def test_the_crop_at_7_t_is_brain_throughout(crop: tuple[Tensor, Tensor, Grid]) -> None:
    magnitude, phase, grid = crop
    mask, _ = brain_mask(magnitude, phase, grid)
    assert mask.float().mean() > 0.98


def test_the_echoes_of_the_crop_agree_on_one_field(crop: tuple[Tensor, Tensor, Grid]) -> None:
    magnitude, phase, grid = crop
    times = (0.004, 0.008, 0.012)
    corrected, _ = mcpc_3d_s(phase, magnitude, times, grid)
    mask, _ = brain_mask(magnitude, corrected, grid)
    unwrapped = romeo.unwrap(corrected, magnitude, mask, times)
    # A wrong turn in one echo alone bends the line by a turn.
    bend = (unwrapped[2] - 2 * unwrapped[1] + unwrapped[0])[mask]
    assert (bend.abs() > torch.pi).float().mean() < 0.002
    field, noise = weighted_linear_fit(unwrapped, magnitude, mask, times, 7.0, grid)
    assert torch.isfinite(field).all()
    assert 1e-4 < noise[mask].median() < 1e-2


def test_the_field_of_the_philips_head_lies_where_the_echo_difference_says(
    philips: tuple[Tensor, Tensor, Grid],
) -> None:
    magnitude, phase, grid = philips
    times = (0.0023, 0.0046)
    corrected, _ = mcpc_3d_s(phase, magnitude, times, grid)
    mask, _ = brain_mask(magnitude, corrected, grid)
    unwrapped = romeo.unwrap(corrected, magnitude, mask, times)
    field, _ = weighted_linear_fit(unwrapped, magnitude, mask, times, 3.0, grid)
    hertz = field[mask] * 127.73
    assert abs(float(hertz.median())) < 30
    # Above the sinuses the field is positive, as the phase of a Philips scanner grows with it.
    assert 40 < float(hertz.kthvalue(int(0.995 * hertz.numel())).values) < 300
