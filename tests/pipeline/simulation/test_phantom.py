"""The digital head: what lies where, and that every grid sees the same head."""

import pytest
import torch

from pipeline.simulation.anatomy import AIR_ABOVE_TISSUE_PPM, NUCLEI
from pipeline.simulation.phantom import Head, TissueSample, adult_head
from pipeline.simulation.sampling import SamplingGrid

COARSE = SamplingGrid((56, 76, 56), (-82.5, -100.0, -75.0), ((0.0, 0.0, 3.0), (0.0, 3.0, 0.0), (3.0, 0.0, 0.0)))


@pytest.fixture(scope="module")
def coarse(head: Head) -> TissueSample:
    return head.sample(COARSE, 3.0)


def label_of(head: Head, name: str) -> int:
    return next(label for label, found in head.label_names.items() if found == name)


def fine_grid_around(centre: tuple[float, float, float], tilt: bool) -> SamplingGrid:
    steps = ((0.0, -0.3, 0.4), (0.0, 0.4, 0.3), (0.5, 0.0, 0.0)) if tilt else ((0, 0, 0.5), (0, 0.5, 0), (0.5, 0, 0))
    first = tuple(centre[axis] - 39.5 * sum(step[axis] for step in steps) for axis in range(3))
    return SamplingGrid((80, 80, 80), (first[0], first[1], first[2]), steps)


def test_the_brain_has_an_adults_volume(coarse: TissueSample) -> None:
    assert 1200 < float(coarse.brain.sum()) * 27 / 1000 < 1700


def test_every_nucleus_exists_on_both_sides_where_its_name_says(head: Head) -> None:
    names = set(head.label_names.values())
    assert names == {f"{side} {n.name}" for n in NUCLEI for side in ("Left", "Right")} | {"Bleed", "Calcification"}
    grid = SamplingGrid((44, 62, 60), (-44.25, -40.0, -45.0), ((0.0, 0.0, 1.5), (0.0, 1.5, 0.0), (1.5, 0.0, 0.0)))
    labels, x = head.sample(grid, 1.5).labels, grid.points()[0]
    for label, name in head.label_names.items():
        if name.startswith(("Left", "Right")):
            found = x[labels == label]
            assert len(found) > 40, name
            assert bool((found > 0).all()) == name.startswith("Left"), name


def test_no_air_lies_inside_the_brain_but_some_lies_close_to_it(coarse: TissueSample) -> None:
    relative_to_water = coarse.susceptibility + AIR_ABOVE_TISSUE_PPM
    assert float(relative_to_water[coarse.brain > 0.99].min()) > -1.0
    assert float(relative_to_water[coarse.brain > 0.99].max()) < 1.0
    is_air_in_head = (coarse.proton_density < 0.02) & (relative_to_water > 8)
    pooled = torch.nn.functional.max_pool3d(is_air_in_head[None].float(), 5, 1, 2)[0]
    touched = float(((pooled > 0) & (coarse.brain > 0.99)).sum()) / float((coarse.brain > 0.99).sum())
    assert 0.002 < touched < 0.2


def test_a_nucleus_holds_the_susceptibility_of_its_table(head: Head) -> None:
    pallidus = next(nucleus for nucleus in NUCLEI if nucleus.name == "putamen")
    sample = head.sample(fine_grid_around(pallidus.shapes[0].sphere_around()[0], tilt=False), 0.5)
    inside = sample.labels == label_of(head, "Left putamen")
    mean = float(sample.susceptibility[inside].mean()) + AIR_ABOVE_TISSUE_PPM
    # Veins and texture run through it.
    assert mean == pytest.approx(pallidus.left_ppm, abs=0.006)
    assert float(sample.susceptibility[inside].std()) > 0.002


def test_a_tilted_grid_sees_the_same_nucleus(head: Head) -> None:
    centre, label = (14.5, 49.0, -34.0), label_of(head, "Left dentate nucleus")
    straight, tilted = (head.sample(fine_grid_around(centre, tilt), 0.5) for tilt in (False, True))
    volumes = [float((sample.labels == label).sum()) for sample in (straight, tilted)]
    means = [float(sample.susceptibility[sample.labels == label].mean()) for sample in (straight, tilted)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)
    assert means[0] == pytest.approx(means[1], abs=0.001)


def test_left_and_right_differ_so_that_a_swap_is_seen() -> None:
    assert all(abs(nucleus.left_ppm - nucleus.right_ppm) >= 0.005 for nucleus in NUCLEI)


def test_the_seed_decides_the_folds(head: Head, coarse: TissueSample) -> None:
    again, other = adult_head().sample(COARSE, 3.0), adult_head(seed=7).sample(COARSE, 3.0)
    assert torch.equal(again.susceptibility, coarse.susceptibility)
    assert not torch.equal(other.susceptibility, coarse.susceptibility)
    assert torch.equal(other.brain, coarse.brain)
