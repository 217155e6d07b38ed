"""Slabs hold the planes that they should; the truth itself has no error in any of them."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import UnusableInput
from pipeline.simulation.scanner import Protocol
from pipeline.studies.cases import ECHO_TIMES_S, REPORTING_SEEDS, Case, make_case
from pipeline.studies.claims_inversions import Inversion
from pipeline.studies.claims_slabs import BLEED, ORDERS, slab_of, slabs_claim, target_values
from pipeline.studies.table import Estimate

pytestmark = pytest.mark.usefixtures("one_thread")

COARSE = Protocol((42, 54, 44), (3.6, 3.6, 3.6), ECHO_TIMES_S, snr=80.0, finest_mm=1.8)
TRUTH = Inversion("truth", lambda drawn: drawn.susceptibility)
BLANK = Inversion("blank", lambda drawn: torch.zeros_like(drawn.susceptibility))


@pytest.fixture(scope="module")
def case() -> Case:
    return make_case("textured", REPORTING_SEEDS[0], "slab", COARSE)


def test_a_slab_has_the_coverage_and_a_wider_one_holds_it(case: Case) -> None:
    thin, wide = slab_of(case, 36.0), slab_of(case, 72.0)
    assert thin.drawn.grid.shape[0] == 10
    assert wide.drawn.grid.shape[0] == 20
    assert wide.planes.start <= thin.planes.start < thin.planes.stop <= wide.planes.stop
    assert thin.drawn.grid.shape[1:] == wide.drawn.grid.shape[1:]


def test_a_slab_wider_than_the_brain_is_the_brain(case: Case) -> None:
    whole = slab_of(case, 500.0)
    assert int(whole.drawn.mask.sum()) == int(case.mask.sum())


def test_a_slab_cut_first_loses_its_rim_to_background_removal(case: Case) -> None:
    removed_first, cut_first = (slab_of(case, 72.0, order).drawn for order in ORDERS)
    assert int(cut_first.mask.sum()) < int(removed_first.mask.sum())
    assert not torch.equal(cut_first.local_field, removed_first.local_field)
    with pytest.raises(UnusableInput, match="removed, then cut"):
        slab_of(case, 72.0, "sideways")


def test_the_truth_has_no_error_and_does_not_change_and_a_blank_map_loses_all(tmp_path: Path) -> None:
    told: list[float] = []
    errors, changes = slabs_claim(
        tmp_path,
        n_heads=1,
        coverages_mm=(36.0, 72.0),
        inversions=[TRUTH, BLANK],
        scan=COARSE,
        on_progress=told.append,
    )
    assert errors.columns == ("method", "36 mm", "72 mm")
    assert changes.columns == ("method", "36 mm")
    for table in (errors, changes):
        cells = table.rows[0][1:]
        assert all(isinstance(cell, Estimate) and abs(cell.value) < 1e-3 for cell in cells)
    lost = errors.rows[1][1]
    assert isinstance(lost, Estimate)
    assert lost.value > 20
    assert told[-1] == 1.0


def test_a_slab_about_a_lesion_holds_it_and_measures_it(case: Case) -> None:
    slab = slab_of(case, 21.6, targets=BLEED)
    label = next(number for number, name in case.scan.label_names.items() if name == "Bleed")
    assert int((slab.labels == label).sum()) == int((case.scan.labels == label).sum()) > 0
    found = target_values(slab, slab.drawn.susceptibility, case.scan.label_names, slab.planes, BLEED)
    assert found["Bleed"] == pytest.approx(0.8, abs=0.25)
