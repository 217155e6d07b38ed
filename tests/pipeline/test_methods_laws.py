"""Laws that every method of every step keeps; a new line in the tables is tested at once.

Networks run with random weights on a smaller scan: the laws are about how they are fed and read, not what they learned.
"""

import copy
import dataclasses
import functools
import re

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.method import Method
from pipeline.methods import STEPS
from pipeline.susceptibility.dipole_inversion.learned import lodestone_map, network_methods
from tests.pipeline.small_scan import SmallScan, permuted, permuted_scan, quick, small_scan
from tests.pipeline.susceptibility.dipole_inversion.learned.calibrations import calibration, let_small_scans_through
from tests.pipeline.susceptibility.dipole_inversion.learned.small_networks import random_network

EVERY = [pytest.param(method, id=f"{step}-{method.name}") for step, table in STEPS.items() for method in table.values()]
SAME_ARCHITECTURE = {"qsmnet", "qsmnet_plus", "qsmnet_plus_narrow", "xqsm_cropped", "kqsm_02"}
"""Networks that differ from another one of the table by width, training material or a threshold alone."""
ALL = [case for case in EVERY if case.values[0].name not in SAME_ARCHITECTURE]
each_method = pytest.mark.parametrize("method", ALL)
# A network has learned along which axis B0 mostly lies, and its convolutions know their axes.
each_method_without_axes = pytest.mark.parametrize("method", [case for case in ALL if not case.values[0].learned])
MASKED = [case for case in ALL if "mask" in case.values[0].inputs]
SMALLER = (18, 20, 18)
FIELDS = ("total_field", "local_field", "local_fields")
OF_FIELDS = [case for case in MASKED if set(FIELDS) & set(case.values[0].inputs)]
ITERATED = [
    case
    for case in ALL
    if {"iterations", "rounds"} & {item.name for item in dataclasses.fields(case.values[0].settings)}
]
# Where a path through the voxels decides, or a threshold, a rounding error may decide otherwise in single voxels.
LARGE = {"best_path": 21.5, "chi_separation": 16}
"""Methods that may take more than twelve volumes: scikit-image's own arrays, and two maps with their splits. A network
takes what its features take, and computes in tiles where that is more than there is."""
BY_THRESHOLD = {"masking", "phase_unwrapping", "coil_combination", "weighting"}


random_weights = functools.cache(random_network)


@pytest.fixture(autouse=True)
def networks_have_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every network random weights, narrow where its table's width would be slow."""

    def load(name: str, *, device: torch.device) -> torch.nn.Module:
        return copy.deepcopy(random_weights(name)).to(device)

    for module in (network_methods, lodestone_map):
        monkeypatch.setattr(module, "load_network", load)
    monkeypatch.setattr(lodestone_map, "load_calibration", lambda name: calibration())
    let_small_scans_through(monkeypatch)


def scan_for(method: Method, dtype: torch.dtype = torch.float32) -> SmallScan:
    """Return the small scan, or the smaller one for networks."""
    return small_scan(dtype, SMALLER) if method.learned else small_scan(dtype)


@functools.cache
def plain_run(method: Method) -> dict[str, torch.Tensor]:
    """Return what the method makes of the small scan in single precision; nobody may change it."""
    return scan_for(method).run(method)


@each_method
def test_it_makes_what_it_promises_on_the_grid_and_finite(method: Method) -> None:
    scan = scan_for(method)
    made = plain_run(method)
    assert set(method.outputs) <= set(made)
    for name, values in made.items():
        assert tuple(values.shape[-3:]) == scan.head.grid.shape, name
        assert values.dtype in (torch.bool, torch.float32), name
        assert bool(torch.isfinite(values).all()), name


@each_method
def test_the_same_input_gives_the_same_bits_and_is_not_changed(method: Method) -> None:
    scan = scan_for(method)
    before = {name: values.clone() for name, values in scan.artefacts.items()}
    first, second = plain_run(method), scan.run(method)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.equal(scan.artefacts[name], before[name]) for name in before)


@each_method
def test_single_and_double_precision_agree(method: Method) -> None:
    single, double = plain_run(method), scan_for(method, torch.float64).run(method)
    for name, values in single.items():
        other = double[name]
        if values.dtype == torch.bool:
            assert float((values != other).double().mean()) < 1e-3, name
            continue
        scale = float(other.abs().max().clamp_min(1e-12))
        difference = (values.double() - other.double()).abs() / scale
        assert float(difference.square().mean().sqrt()) < 5e-3, name


@each_method_without_axes
def test_exchanging_axes_and_b0_exchanges_the_result(method: Method, request: pytest.FixtureRequest) -> None:
    step = request.node.callspec.id.split("-")[0]
    scan = scan_for(method, torch.float64)
    artefacts, context = permuted_scan(scan)
    plain, turned = scan.run(method), method.apply(artefacts, context, quick(method))
    # A projection through slices is another one when the slices lie elsewhere.
    for name, values in ((name, values) for name, values in plain.items() if name != "minimum_intensity_projection"):
        expected, found = permuted(values), turned[name]
        if values.dtype == torch.bool:
            assert float((expected != found).double().mean()) < 5e-3, name
            continue
        difference = (expected.double() - found.double()).abs() / float(expected.abs().max().clamp_min(1e-12))
        limit = 2e-2 if step in BY_THRESHOLD else 5e-3
        assert float(difference.square().mean().sqrt()) < limit, name


@pytest.mark.parametrize("method", OF_FIELDS)
def test_what_the_field_holds_outside_the_mask_does_not_matter(method: Method) -> None:
    scan = scan_for(method)
    mask = scan.artefacts["mask"]
    changed = {name: torch.where(mask, scan.artefacts[name], 7.0) for name in FIELDS}
    plain, other = plain_run(method), scan.run(method, **changed)
    for name, values in plain.items():
        assert torch.equal(values, other[name]), name
        assert not values[..., ~mask].any(), name


@pytest.mark.parametrize("method", OF_FIELDS)
def test_a_value_outside_the_mask_that_is_not_finite_does_no_harm(method: Method) -> None:
    scan = scan_for(method)
    mask = scan.artefacts["mask"]
    changed = {name: torch.where(mask, scan.artefacts[name], float("nan")) for name in FIELDS}
    plain, other = plain_run(method), scan.run(method, **changed)
    assert all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize("method", OF_FIELDS)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_field_that_is_not_finite_in_the_mask_is_refused(method: Method, wrong: float) -> None:
    scan = scan_for(method)
    centre = (..., *(size // 2 for size in scan.head.grid.shape))
    (field,) = set(FIELDS) & set(method.inputs)
    broken = scan.artefacts[field].clone()
    broken[centre] = wrong
    with pytest.raises(UnusableInput, match="not finite"):
        scan.run(method, **{field: broken})


@pytest.mark.parametrize("method", MASKED)
@pytest.mark.parametrize("n_voxels", [0, 1])
def test_a_mask_of_no_voxel_or_one_is_refused(method: Method, n_voxels: int) -> None:
    scan = scan_for(method)
    mask = torch.zeros_like(scan.artefacts["mask"])
    mask[9, 10, 9] = bool(n_voxels)
    with pytest.raises(UnusableInput, match="mask"):
        scan.run(method, mask=mask)


@each_method
def test_a_wrong_shape_is_refused_by_the_name_of_the_artefact(method: Method) -> None:
    scan = scan_for(method)
    for name in method.inputs:
        with pytest.raises(UnusableInput, match=name.replace("_", " ")):
            scan.run(method, **{name: scan.artefacts[name][..., 1:]})


@each_method
def test_a_missing_input_is_named(method: Method) -> None:
    scan = scan_for(method)
    for name in method.inputs:
        rest = {other: values for other, values in scan.artefacts.items() if other != name}
        with pytest.raises(UnusableInput, match=name):
            method.apply(rest, scan.context, quick(method))


@pytest.mark.parametrize(
    "times", [(0.008, 0.004, 0.012, 0.016), (0.004, 0.004, 0.008, 0.012), (0.0, 0.004, 0.008, 0.01)]
)
def test_echo_times_that_do_not_rise_are_refused_before_any_work(times: tuple[float, ...]) -> None:
    scan = small_scan()
    method = STEPS["echo_combination"]["weighted_linear_fit"]
    with pytest.raises(UnusableInput, match="Echo times must"):
        method.apply(scan.artefacts, dataclasses.replace(scan.context, echo_times_s=times), quick(method))


@pytest.mark.parametrize("method", ITERATED)
def test_an_iteration_tells_how_far_it_is_and_can_be_cancelled(method: Method) -> None:
    scan = scan_for(method)
    told: list[float] = []
    method.apply(scan.artefacts, dataclasses.replace(scan.context, on_iteration=told.append), quick(method))
    assert told == sorted(told)
    assert told
    assert 0 < told[-1] <= 1.0 + 1e-9

    def cancel(fraction: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        method.apply(scan.artefacts, dataclasses.replace(scan.context, on_iteration=cancel), quick(method))


@pytest.mark.parametrize("method", EVERY)
def test_it_names_its_source_and_explains_every_parameter(method: Method) -> None:
    assert method.name == "none" or re.search(r"\b(19|20)\d\d\b|doi:", method.citation), method.citation
    assert 0 < method.memory_volumes <= (500 if method.learned else LARGE.get(method.name, 12))
    for item in dataclasses.fields(method.settings):
        assert item.metadata["unit"], item.name
        assert len(item.metadata["help"]) > 8, item.name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: run the tests on a machine with a GPU")
@each_method
def test_a_gpu_agrees_with_the_processor(method: Method) -> None:
    scan = scan_for(method)
    on_gpu = {name: values.cuda() for name, values in scan.artefacts.items()}
    plain, other = plain_run(method), method.apply(on_gpu, scan.context, quick(method))
    for name, values in plain.items():
        assert other[name].is_cuda, name
        scale = float(values.double().abs().max().clamp_min(1e-12))
        difference = (values.double() - other[name].cpu().double()) / scale
        assert float(difference.square().mean().sqrt()) < 5e-3, name
