"""Laws that every dipole inversion keeps, whatever its algorithm: the tests run over the tables of methods.

What holds for methods of any step is in `tests/pipeline/test_methods_laws.py`. How accurate a network is depends on its
training, which `lodestone evaluate` judges.
"""

import functools
from typing import Any

import pytest
import torch

from pipeline.errors import NotConverged
from pipeline.method import Method, StepContext
from pipeline.methods import STEPS
from tests.pipeline.small_scan import B0_TESLA, ECHO_TIMES_S, quick, small_scan
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head

INVERSIONS = [
    method
    for step in ("dipole_inversion", "total_field_inversion")
    for method in STEPS[step].values()
    if not method.learned
]
each_inversion = pytest.mark.parametrize("method", INVERSIONS, ids=lambda method: method.name)
LINEAR = [method for method in INVERSIONS if method.name in ("tkd", "l2")]
each_linear_inversion = pytest.mark.parametrize("method", LINEAR, ids=lambda method: method.name)


def inverted(method: Method, artefacts: dict[str, torch.Tensor], head: SmallHead, settings: Any = None) -> torch.Tensor:
    context = StepContext(head.grid, ECHO_TIMES_S, B0_TESLA)
    return method.apply(artefacts, context, settings or method.settings())["susceptibility"]


@functools.cache
def standard_map(method: Method) -> torch.Tensor:
    scan = small_scan()
    return inverted(method, scan.artefacts, scan.head)


@each_inversion
def test_paramagnetic_stays_positive_and_close_to_the_truth(method: Method) -> None:
    head, found = small_scan().head, standard_map(method)
    assert 0.6 < head.slope(found) < 1.25
    assert head.error_percent(found) < 65
    # A map is known up to a constant, and some methods choose their own zero.
    found = found - found[head.mask].mean()
    assert float(found[head.truth > 0.1].mean()) > 0.05 > -0.03 > float(found[head.truth < -0.07].mean())


@each_inversion
def test_thick_oblique_voxels_are_mapped_too(method: Method) -> None:
    scan = small_scan(shape=(32, 42, 40), voxel_size_mm=(1.5, 1.0, 1.0), direction=(0.8, 0.0, 0.6))
    found = inverted(method, scan.artefacts, scan.head)
    assert 0.6 < scan.head.slope(found) < 1.25
    assert scan.head.error_percent(found) < 70


@each_inversion
def test_an_absurd_field_gives_a_finite_map_or_says_that_it_diverged(method: Method) -> None:
    scan = small_scan()
    absurd = {name: scan.artefacts[name] * 1e15 for name in ("local_field", "total_field")}
    try:
        found = inverted(method, scan.artefacts | absurd, scan.head, quick(method))
    except NotConverged:
        return
    assert bool(torch.isfinite(found).all())


@each_linear_inversion
def test_a_linear_inversion_maps_sums_to_sums(method: Method) -> None:
    head = small_head()
    artefacts = head.artefacts(torch.float64)
    other = torch.randn(head.grid.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    first = inverted(method, artefacts, head)
    second = inverted(method, artefacts | {"local_field": other}, head)
    both = inverted(method, artefacts | {"local_field": 2 * artefacts["local_field"] - 3 * other}, head)
    torch.testing.assert_close(both, 2 * first - 3 * second)


@each_linear_inversion
def test_shifting_the_head_shifts_the_map(method: Method) -> None:
    head = small_head()
    artefacts = {name: head.artefacts(torch.float64)[name] for name in ("local_field", "mask")}
    moved = {name: values.roll((2, -1, 3), dims=(0, 1, 2)) for name, values in artefacts.items()}
    expected = inverted(method, artefacts, head).roll((2, -1, 3), dims=(0, 1, 2))
    torch.testing.assert_close(inverted(method, moved, head), expected)
