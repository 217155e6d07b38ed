"""Laws that every dipole inversion keeps, whatever its algorithm: the tests run over the tables of methods."""

import functools

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import Method, StepContext
from pipeline.methods import STEPS
from tests.pipeline.susceptibility.dipole_inversion.heads import small_head

INVERSIONS = [*STEPS["dipole_inversion"].values(), *STEPS["total_field_inversion"].values()]
each_inversion = pytest.mark.parametrize("method", INVERSIONS, ids=lambda method: method.name)
LINEAR = {"tkd"}


def inverted(method: Method, head, artefacts: dict[str, torch.Tensor]) -> torch.Tensor:
    given = {name: artefacts[name] for name in (*method.inputs, *method.optional_inputs) if name in artefacts}
    return method.run(given, StepContext(head.grid), method.settings())["susceptibility"]


@functools.cache
def standard_map(method: Method) -> torch.Tensor:
    head = small_head()
    return inverted(method, head, head.artefacts())


@each_inversion
def test_paramagnetic_stays_positive_and_close_to_the_truth(method: Method) -> None:
    head, found = small_head(), standard_map(method)
    assert 0.7 < head.slope(found) < 1.2
    assert head.error_percent(found) < (50 if method.name in LINEAR else 25)


@each_inversion
def test_thick_oblique_voxels_are_mapped_as_well_as_thin_ones(method: Method) -> None:
    head = small_head((36, 48, 48), (1.5, 1.0, 1.0), (0.8, 0.0, 0.6))
    found = inverted(method, head, head.artefacts())
    assert 0.7 < head.slope(found) < 1.2
    assert head.error_percent(found) < (50 if method.name in LINEAR else 40)


@each_inversion
def test_the_map_is_zero_outside_the_mask_and_finite_inside(method: Method) -> None:
    head, found = small_head(), standard_map(method)
    assert found.shape == head.grid.shape
    assert not found[~head.mask].any()
    assert bool(torch.isfinite(found).all())


@each_inversion
def test_the_same_input_gives_the_same_bits_and_is_not_changed(method: Method) -> None:
    head = small_head()
    artefacts = head.artefacts()
    before = {name: volume.clone() for name, volume in artefacts.items()}
    assert torch.equal(inverted(method, head, artefacts), standard_map(method))
    assert all(torch.equal(artefacts[name], before[name]) for name in before)


@each_inversion
def test_single_and_double_precision_agree(method: Method) -> None:
    head = small_head()
    single = standard_map(method).double()
    double = inverted(method, head, head.artefacts(torch.float64))
    assert double.dtype == torch.float64
    difference = (single - double)[head.mask]
    assert float(difference.square().mean().sqrt()) < 2e-3


@each_inversion
def test_permuting_axes_and_b0_together_permutes_the_map(method: Method) -> None:
    head, turned = small_head(), small_head(direction=(0.0, 0.0, 1.0))
    along_z = small_head(direction=(1.0, 0.0, 0.0))
    artefacts = along_z.artefacts(torch.float64)
    order = (2, 1, 0)
    permuted = {
        name: volume.permute(0, 3, 2, 1).contiguous() if volume.dim() == 4 else volume.permute(order).contiguous()
        for name, volume in artefacts.items()
    }
    plain = inverted(method, along_z, artefacts)
    swapped = inverted(method, turned, permuted)
    assert float((swapped - plain.permute(order))[head.mask.permute(order)].abs().max()) < 2e-3


@each_inversion
def test_what_the_field_holds_outside_the_mask_does_not_matter(method: Method) -> None:
    head = small_head()
    artefacts = head.artefacts()
    for name in ("local_field", "total_field"):
        artefacts[name] = torch.where(head.mask, artefacts[name], 7.0)
    assert torch.equal(inverted(method, head, artefacts), standard_map(method))


@each_inversion
def test_a_mask_of_another_shape_is_refused(method: Method) -> None:
    head = small_head()
    artefacts = head.artefacts() | {"mask": torch.ones(4, 4, 4, dtype=torch.bool)}
    with pytest.raises(UnusableInput):
        inverted(method, head, artefacts)


@pytest.mark.parametrize("method", [m for m in INVERSIONS if m.name in LINEAR], ids=lambda method: method.name)
def test_a_linear_inversion_maps_sums_to_sums(method: Method) -> None:
    head = small_head()
    artefacts = head.artefacts(torch.float64)
    other = torch.randn(head.grid.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first = inverted(method, head, artefacts)
    second = inverted(method, head, artefacts | {"local_field": other})
    both = inverted(method, head, artefacts | {"local_field": 2 * artefacts["local_field"] - 3 * other})
    torch.testing.assert_close(both, 2 * first - 3 * second)


@pytest.mark.parametrize("method", [m for m in INVERSIONS if m.name not in LINEAR], ids=lambda method: method.name)
def test_an_iteration_tells_how_far_it_is_and_can_be_cancelled(method: Method) -> None:
    head = small_head()
    told: list[float] = []
    given = head.artefacts()
    method.run(given, StepContext(head.grid, on_iteration=told.append), method.settings())
    assert told == sorted(told)
    assert 0 < told[0] < 0.2
    assert told[-1] <= 1.0 + 1e-9

    def cancel(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method.run(given, StepContext(head.grid, on_iteration=cancel), method.settings())
