"""Gradient steps lower the misfit and stop at the noise; the closed form solves its equations."""

import functools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from pipeline.errors import NotConverged, UnusableInput
from pipeline.grid import Grid
from pipeline.method import Method, StepContext
from pipeline.operators.dipole import AXES, Dipole
from pipeline.susceptibility.dipole_inversion.l2 import L2
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm, share_to_level
from pipeline.susceptibility.dipole_inversion.learned.refinement import (
    DfQsmSettings,
    Dll2Settings,
    df_qsm,
    dll2,
    stepped,
)
from pipeline.susceptibility.dipole_inversion.tkd import TKD
from tests.pipeline.susceptibility.dipole_inversion.heads import NOISE_PPM, SmallHead, small_head

OURS = DfQsmSettings(iterations=200, tolerance=0.0, margin=4)
PLAIN = replace(OURS, harmonic_order=0, is_robust=False)
"""For fields that are known to hold dipoles and noise only."""
Refinement = Callable[..., Tensor]


@functools.cache
def head() -> SmallHead:
    return small_head((22, 24, 26), (1.5, 1.5, 1.5))


def measured(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    artefacts = head().artefacts(dtype)
    return artefacts["local_field"], artefacts["field_noise"]


def misfit(susceptibility: Tensor) -> float:
    """Return the misfit over the noise, computed apart from the code under test, on a wide grid of its own."""
    field, noise = measured()
    grid = replace(head().grid, shape=(54, 56, 58))
    padded = torch.zeros(grid.shape, dtype=torch.float64)
    inner = tuple(slice(16, 16 + size) for size in head().grid.shape)
    padded[inner] = susceptibility.double()
    left = ((Dipole.on(grid, padded)(padded)[inner] - field) / noise)[head().mask]
    return float((left - left.mean()).square().mean().sqrt())


@functools.cache
def start_map(kind: str) -> Tensor:
    artefacts, truth = head().artefacts(torch.float64), head().truth
    context = StepContext(head().grid)
    if kind in ("tkd", "l2"):
        method = TKD if kind == "tkd" else L2
        return 0.7 * method.apply(artefacts, context, method.settings())["susceptibility"]
    chance = torch.Generator().manual_seed(2)
    return {
        "zeros": torch.zeros_like(truth),
        "half": 0.5 * truth,
        "noise": 0.02 * torch.randn(truth.shape, generator=chance, dtype=torch.float64),
    }[kind]


STARTS = ("zeros", "half", "noise", "tkd", "l2")


@pytest.mark.parametrize("kind", STARTS)
def test_steps_lower_the_misfit_of_every_start_and_end_at_the_noise(kind: str) -> None:
    field, noise = measured()
    start = start_map(kind)
    before = misfit(start * head().mask)
    refined = df_qsm(start, field, head().mask, head().grid, PLAIN, noise)
    assert before > 1.3
    assert misfit(refined) == pytest.approx(1.0, abs=0.05)
    term = DataTerm.of(field, head().mask, head().grid, noise, margin=4)
    assert 1 - 1e-9 <= term.ratio(term.residual(term.framed(refined))) < 1 + 1e-9
    assert not refined[~head().mask].any()


@pytest.mark.parametrize("n_steps", [1, 3, 7])
def test_each_further_step_explains_more(n_steps: int) -> None:
    field, noise = measured()
    maps = [
        df_qsm(start_map("half"), field, head().mask, head().grid, replace(PLAIN, iterations=count), noise)
        for count in (n_steps, n_steps + 1)
    ]
    assert 1.0 < misfit(maps[1]) < misfit(maps[0]) < misfit(start_map("half"))


def test_a_map_that_explains_the_field_comes_back_as_it_is() -> None:
    field, noise = measured()
    refined = df_qsm(head().truth, field, head().mask, head().grid, PLAIN, 1.2 * noise)
    assert torch.equal(refined, head().truth)


@pytest.mark.parametrize("kind", ["zeros", "half", "noise", "l2"])
def test_what_is_left_out_of_account_costs_no_start_its_correction(kind: str) -> None:
    field, noise = measured()
    start = start_map(kind) * head().mask
    refined = df_qsm(start, field, head().mask, head().grid, OURS, noise)
    assert misfit(refined) < 0.85 * misfit(start)
    assert error(refined) < error(start)


def background() -> Tensor:
    """Return the field of two strong sources beyond the mask, and a slow one [ppm]."""
    mask = head().mask
    grid = replace(head().grid, shape=(54, 56, 58))
    sources = torch.zeros(grid.shape, dtype=torch.float64)
    sources[16 + 11, 16 + 12, 16 + 27] = 4.0
    sources[16 + 22, 16 + 8, 16 + 10] = -3.0
    near = Dipole.on(grid, sources)(sources)[tuple(slice(16, 16 + size) for size in mask.shape)]
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, size, dtype=torch.float64) for size in mask.shape), indexing="ij")
    return torch.where(mask, near + 0.01 * (z * y + x), 0.0)


@pytest.mark.parametrize("kind", ["truth", "half"])
def test_left_over_background_and_outliers_do_not_spoil_a_map(kind: str) -> None:
    field, noise = measured()
    wrong = torch.rand(field.shape, generator=torch.Generator().manual_seed(9)) < 0.003
    faulty = torch.where(wrong & head().mask, field + 0.2, field + background())
    start = head().truth if kind == "truth" else start_map("half")
    careless = df_qsm(start, faulty, head().mask, head().grid, replace(PLAIN, iterations=50), noise)
    careful = df_qsm(start, faulty, head().mask, head().grid, replace(OURS, iterations=50), noise)
    assert error(careful) < 0.5 * error(careless)
    assert error(careful) < (0.2 if kind == "truth" else error(start))


def error(susceptibility: Tensor) -> float:
    """Return the norm of the error over that of the truth, without means."""
    found, truth = susceptibility[head().mask], head().truth[head().mask]
    found, truth = found - found.mean(), truth - truth.mean()
    return float((found - truth).norm() / truth.norm())


def test_the_paper_s_rule_goes_on_below_the_noise() -> None:
    field, noise = measured()
    louder = DfQsmSettings(rule="paper")
    paper = df_qsm(100 * start_map("half"), 100 * field, head().mask, head().grid, louder, noise)
    assert misfit(paper / 100) < misfit(start_map("half"))
    # A small head's gradient is below 0.75 ppm from the start: the rule depends on the size of the volume.
    assert torch.equal(df_qsm(start_map("half"), field, head().mask, head().grid, louder), start_map("half"))


def test_a_constant_of_the_field_does_not_matter_by_our_rule() -> None:
    field, noise = measured()
    plain, shifted = (
        df_qsm(start_map("half"), field + constant, head().mask, head().grid, OURS, noise)
        for constant in (0.0, 5 * NOISE_PPM)
    )
    torch.testing.assert_close(plain, shifted, atol=1e-9, rtol=0)


def test_a_step_that_is_too_long_is_refused() -> None:
    field, noise = measured()
    uneven = torch.where(torch.rand(noise.shape, generator=torch.Generator().manual_seed(3)) < 0.4, 0.4, 1.0) * noise
    with pytest.raises(NotConverged, match="shorter step"):
        df_qsm(start_map("noise"), field, head().mask, head().grid, replace(OURS, step=4.0), uneven)


def test_single_precision_gives_the_same_map() -> None:
    double = df_qsm(start_map("l2"), *rest(torch.float64))
    single = df_qsm(start_map("l2").float(), *rest(torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, atol=2e-5, rtol=0)


def rest(dtype: torch.dtype) -> tuple[Tensor, Tensor, Grid, DfQsmSettings, Tensor]:
    field, noise = measured(dtype)
    return field, head().mask, head().grid, OURS, noise


@pytest.mark.parametrize("refine", [df_qsm, dll2])
def test_progress_is_told_and_can_cancel(refine: Refinement) -> None:
    field, noise = measured()
    settings = OURS if refine is df_qsm else Dll2Settings(is_weighted=True, margin=4)
    told: list[float] = []
    refine(start_map("half"), field, head().mask, head().grid, settings, noise, told.append)
    assert told == sorted(told)
    assert told[0] < 0.2
    assert told[-1] == 1.0

    def cancel(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine(start_map("half"), field, head().mask, head().grid, settings, noise, cancel)


def test_the_closed_form_solves_its_normal_equations() -> None:
    field, _ = measured()
    start, settings = start_map("half"), Dll2Settings(regularisation=0.03)
    term = DataTerm.of(field, head().mask, head().grid, None, is_weighted=False)
    framed = term.framed(start)
    own = term.dipole(framed)
    constant = (field - term.restored(own))[head().mask].mean()
    filled = torch.where(term.mask > 0, term.field - constant, own)
    spectrum = torch.fft.rfftn(term.dipole(filled) + 0.03 * framed, dim=AXES)
    solved = torch.fft.irfftn(spectrum / (term.dipole.kernel.square() + 0.03), s=term.dipole.shape, dim=AXES)
    assert torch.allclose(term.dipole(term.dipole(solved)) + 0.03 * solved, term.dipole(filled) + 0.03 * framed)
    refined = dll2(start, field, head().mask, head().grid, settings)
    torch.testing.assert_close(refined, term.restored(solved * term.mask), atol=1e-12, rtol=0)


def test_the_weighed_form_solves_its_normal_equations() -> None:
    field, noise = measured()
    noise = noise * torch.linspace(0.5, 3.0, noise.numel(), dtype=noise.dtype).reshape(noise.shape)
    settings = Dll2Settings(is_weighted=True, iterations=300, tolerance=1e-6, margin=4)
    refined = dll2(start_map("half"), field, head().mask, head().grid, settings, noise)
    term = DataTerm.of(field, head().mask, head().grid, noise, margin=4)
    found, start = term.framed(refined), term.framed(start_map("half"))
    slope = term.slope(term.residual(found)) + settings.regularisation * (found - start)
    assert float(slope.norm()) < 2e-6 * float(term.slope(term.residual(start)).norm())


@pytest.mark.parametrize("is_weighted", [False, True])
def test_dll2_lies_between_the_start_and_the_field(is_weighted: bool) -> None:
    field, noise = measured()
    start = start_map("half")
    loose, held = (
        dll2(start, field, head().mask, head().grid, Dll2Settings(value, is_weighted, margin=4), noise)
        for value in (0.01, 100.0)
    )
    assert misfit(loose) < 0.5 * misfit(start)
    assert float((held - start).norm()) < 0.01 * float((loose - start).norm())


def test_a_step_is_cut_where_the_residual_meets_the_level() -> None:
    before, after = torch.tensor([3.0, 4.0]), torch.tensor([0.3, 0.4])
    assert share_to_level(before, after, 2.0) == pytest.approx(3 / 4.5)
    assert share_to_level(before, after, 0.4) == 1.0


@pytest.mark.parametrize("refine", [df_qsm, dll2])
def test_a_start_on_another_grid_is_refused(refine: Refinement) -> None:
    field, noise = measured()
    settings = OURS if refine is df_qsm else Dll2Settings()
    with pytest.raises(UnusableInput, match="map has shape"):
        refine(start_map("half")[1:], field, head().mask, head().grid, settings, noise)
    with pytest.raises(UnusableInput, match="field has shape"):
        refine(start_map("half"), field[1:], head().mask, head().grid, settings, noise)


@pytest.mark.parametrize("method", [TKD, L2])
def test_a_map_that_would_explain_the_measured_field_worse_than_its_start_is_not_given(method: Method) -> None:
    field, noise = measured()
    outside = (~head().mask).nonzero()
    chance = torch.Generator().manual_seed(1)
    sources = torch.zeros_like(field)
    for place in outside[torch.randint(len(outside), (6,), generator=chance)]:
        sources[tuple(place)] = 20.0
    field = field + Dipole.on(head().grid, sources)(sources) * head().mask
    artefacts = head().artefacts(torch.float64) | {"local_field": field}
    start = method.apply(artefacts, StepContext(head().grid), method.settings())["susceptibility"]
    term = DataTerm.of(field, head().mask, head().grid, noise, margin=4, order=OURS.harmonic_order)

    def plain_misfit(susceptibility: Tensor) -> float:
        return float(term.residual(term.framed(susceptibility)).norm())

    stepped_anyway = stepped(start, term.cleaned(term.framed(start), OURS.background_steps), OURS)
    assert plain_misfit(stepped_anyway) > plain_misfit(start)
    assert torch.equal(df_qsm(start, field, head().mask, head().grid, OURS, noise), start * head().mask)
