"""The two scans of a pair differ by the structures and what physics says of them, and by nothing else."""

from dataclasses import replace

import pytest
import torch

from pipeline.operators.dipole import Dipole
from pipeline.studies.claims_inversions import held_out_samples
from pipeline.studies.removed_structures_pairs import STRUCTURES, Pair, Structure, pairs_of
from pipeline.training.datasets.sample import Sample
from pipeline.training.plans import AXIAL

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def scene() -> Sample:
    drawn = held_out_samples(replace(AXIAL, shape=(48, 48, 48)), 1)[0]
    everywhere = torch.zeros_like(drawn.mask)
    everywhere[2:-2, 2:-2, 2:-2] = True
    # A quiet scene, so that there is room for all of them.
    quiet = 0.02 * drawn.susceptibility * everywhere
    noise = torch.full_like(drawn.field_noise, 1e-3) * everywhere
    return replace(
        drawn,
        susceptibility=quiet,
        local_field=Dipole.on(drawn.grid, quiet)(quiet) * everywhere,
        mask=everywhere,
        field_noise=noise,
        magnitude=torch.ones_like(drawn.magnitude),
    )


@pytest.fixture(scope="module")
def pair(scene: Sample) -> Pair:
    return next(pairs_of([scene], STRUCTURES[:4], 5))


def test_the_truth_holds_each_structure_in_one_scan_and_not_in_the_other(pair: Pair) -> None:
    assert len(pair.present) >= 2
    for place in pair.present:
        assert place.contrast(pair.with_them.susceptibility) == pytest.approx(1.0, abs=0.3)
        assert abs(place.contrast(pair.without.susceptibility)) <= 0.25
        gained = place.contrast(pair.with_them.susceptibility - pair.without.susceptibility)
        assert gained == pytest.approx(1.0, abs=1e-3)


def test_decoys_hold_nothing_in_either_scan(pair: Pair) -> None:
    assert pair.decoys
    for decoy in pair.decoys:
        for scan in (pair.without, pair.with_them):
            assert abs(decoy.contrast(scan.susceptibility)) <= 0.25


def test_the_field_that_is_added_is_that_of_the_structures(pair: Pair) -> None:
    strong = replace(pair.without, field_noise=torch.zeros_like(pair.without.field_noise))
    noiseless = next(pairs_of([strong], STRUCTURES[:4], 5))
    added = noiseless.with_them.susceptibility - strong.susceptibility
    added = (added - added[noiseless.far].median()) * strong.mask
    change = noiseless.with_them.local_field - strong.local_field
    expected = Dipole.on(strong.grid, added)(added) * strong.mask
    # Shapes thinner than a voxel have another field than the voxels' means, and the dipole of the test wraps around.
    assert float((change - expected).norm() / change.norm()) < 0.35
    assert float((change - expected)[noiseless.far].abs().max()) < 0.1 * float(change.abs().max())


def test_structures_dim_the_image_and_raise_the_noise_where_they_are_and_nowhere_else(pair: Pair) -> None:
    place = pair.present[0]
    full = place.voxels[place.share > 0.9] if bool((place.share > 0.9).any()) else place.voxels[place.share.argmax()]
    assert bool((pair.with_them.magnitude.flatten()[full] < pair.without.magnitude.flatten()[full]).all())
    assert bool((pair.with_them.field_noise.flatten()[full] > pair.without.field_noise.flatten()[full]).all())
    assert torch.equal(pair.with_them.magnitude[pair.far], pair.without.magnitude[pair.far])
    assert torch.equal(pair.with_them.field_noise[pair.far], pair.without.field_noise[pair.far])


def test_pairs_are_the_same_for_the_same_seed_and_others_for_another(scene: Sample, pair: Pair) -> None:
    again, other = (next(pairs_of([scene], STRUCTURES[:4], seed)) for seed in (5, 6))
    assert torch.equal(again.with_them.local_field, pair.with_them.local_field)
    assert not torch.equal(other.with_them.local_field, pair.with_them.local_field)


def test_a_scene_without_room_gives_no_pair(scene: Sample) -> None:
    narrow = torch.zeros_like(scene.mask)
    narrow[20:24] = True
    assert list(pairs_of([replace(scene, mask=narrow)], STRUCTURES, 5)) == []


def test_a_rim_is_hollow_and_a_vein_long() -> None:
    along = torch.tensor([1.0, 0.0, 0.0])
    points = torch.tensor([[0.0, 2.4, 4.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    rim, vein = (
        Structure(kind, 6.0 if kind == "rim" else 1.0, 0.1).distance(points, along) for kind in ("rim", "vein")
    )
    assert [bool(value < 0) for value in rim] == [False, True, False]
    assert [bool(value < 0) for value in vein] == [True, True, True]
