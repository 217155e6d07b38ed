"""The families differ in what they are named after, and a seed decides a head."""

from collections import Counter

import pytest
import torch

from pipeline.errors import UnknownMethod
from pipeline.simulation.families import FAMILIES, find_family
from pipeline.simulation.phantom import Head
from pipeline.simulation.sampling import SamplingGrid
from pipeline.simulation.scanner import Protocol, SimulatedScan, acquire

COARSE = Protocol((30, 40, 34), (5.0, 5.0, 5.0), (0.005, 0.015), finest_mm=2.5)


@pytest.fixture(scope="module")
def heads() -> dict[str, Head]:
    return {name: family.head(3) for name, family in FAMILIES.items()}


@pytest.fixture(scope="module")
def scans(heads: dict[str, Head]) -> dict[str, SimulatedScan]:
    return {name: acquire(heads[name], COARSE) for name in ("textured", "strong_background")}


def names(head: Head) -> Counter[str]:
    return Counter(part.name for part in head.structures)


def tissue_around(head: Head, point: tuple[float, float, float]) -> torch.Tensor:
    """Return the susceptibility [ppm] in a cube of 6 mm."""
    steps = ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    return head.sample(SamplingGrid((6, 6, 6), point, steps), 1.0).susceptibility


def test_the_same_seed_gives_the_same_head_and_another_seed_another(heads: dict[str, Head]) -> None:
    again, other = (FAMILIES["textured"].head(seed) for seed in (3, 4))
    assert again.structures == heads["textured"].structures
    assert torch.equal(again.lattice.values, heads["textured"].lattice.values)
    assert other.structures != heads["textured"].structures


def test_the_smooth_head_has_no_lesion_and_even_white_matter(heads: dict[str, Head]) -> None:
    smooth, textured = heads["piecewise_smooth"], heads["textured"]
    assert not {"Bleed", "Calcification"} & set(names(smooth))
    spreads = [float(tissue_around(head, (26.0, 0.0, 40.0)).std()) for head in (smooth, textured)]
    assert spreads[0] < 0.25 * spreads[1]


def test_the_textured_head_has_a_bleed_a_calcification_and_thin_veins(heads: dict[str, Head]) -> None:
    textured = heads["textured"]
    values = {part.name: part.tissue.susceptibility_ppm for part in textured.structures}
    assert (values["Bleed"], values["Calcification"]) == (0.8, -0.4)
    assert names(textured)["vein"] >= names(heads["piecewise_smooth"])["vein"] + 60


def test_the_strong_background_reaches_farther_into_the_brain(scans: dict[str, SimulatedScan]) -> None:
    strong, plain = (scans[name].total_field[scans[name].brain].abs() for name in ("strong_background", "textured"))
    assert float((strong > 1.0).float().mean()) > 1.3 * float((plain > 1.0).float().mean())


def test_every_family_keeps_a_brain_with_nuclei_on_both_sides(scans: dict[str, SimulatedScan]) -> None:
    for scan in scans.values():
        assert 1100 < float(scan.brain.sum()) * 0.125 < 1800  # [ml]
        assert {"Left putamen", "Right putamen"} <= set(scan.label_names.values())


def test_an_unknown_family_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownMethod, match="did you mean 'textured'"):
        find_family("texturd")
