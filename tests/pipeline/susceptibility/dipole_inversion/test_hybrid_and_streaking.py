"""What only HD-QSM, STAR and iLSQR promise: doubt in bad voxels, strong sources first, and a quiet cone."""

import functools
from dataclasses import replace

import torch

from pipeline.method import Method, StepContext
from pipeline.operators.dipole import AXES, dipole_kernel
from pipeline.susceptibility.dipole_inversion.hd_qsm import HD_QSM, HdQsmSettings
from pipeline.susceptibility.dipole_inversion.ilsqr import ILSQR, IlsqrSettings
from pipeline.susceptibility.dipole_inversion.star import STAR, StarSettings
from pipeline.susceptibility.dipole_inversion.total_variation import TOTAL_VARIATION, TotalVariationSettings
from tests.pipeline.susceptibility.dipole_inversion.heads import SmallHead, small_head


@functools.cache
def head() -> SmallHead:
    return small_head((36, 40, 38))


def mapped(method: Method, artefacts: dict[str, torch.Tensor], settings: object) -> torch.Tensor:
    return method.apply(artefacts, StepContext(head().grid), settings)["susceptibility"]


def with_wrong_voxels() -> dict[str, torch.Tensor]:
    artefacts = head().artefacts()
    wrong = artefacts["local_field"].clone()
    places = torch.randperm(int(head().mask.sum()), generator=torch.Generator().manual_seed(1))[:60]
    values = wrong[head().mask]
    values[places] += 0.3
    wrong[head().mask] = values
    return artefacts | {"local_field": wrong}


def test_hd_qsm_doubts_the_voxels_that_its_first_stage_cannot_explain() -> None:
    artefacts = with_wrong_voxels()
    hybrid = mapped(HD_QSM, artefacts, HdQsmSettings(iterations=20))
    squared = mapped(TOTAL_VARIATION, artefacts, TotalVariationSettings(iterations=20, tolerance=0.0))
    assert head().error_percent(hybrid) < head().error_percent(squared) - 5


def test_hd_qsm_without_bad_voxels_maps_as_total_variation_does() -> None:
    hybrid = mapped(HD_QSM, head().artefacts(), HdQsmSettings(iterations=30))
    squared = mapped(TOTAL_VARIATION, head().artefacts(), TotalVariationSettings(iterations=30, tolerance=0.0))
    assert abs(head().error_percent(hybrid) - head().error_percent(squared)) < 5


def test_hd_qsm_smooths_more_with_more_regularisation() -> None:
    maps = [
        mapped(HD_QSM, head().artefacts(), HdQsmSettings(regularisation=weight, iterations=15))
        for weight in (2e-4, 2e-3)
    ]
    rough, smooth = (float(found.diff(dim=0).abs().sum()) for found in maps)
    assert smooth < 0.9 * rough


def test_star_without_strong_sources_is_total_variation() -> None:
    settings = StarSettings(strong_regularisation=1e4, strong_iterations=2, iterations=8, tolerance=0.0)
    same = TotalVariationSettings(regularisation=settings.regularisation, iterations=8, tolerance=0.0)
    plain = mapped(TOTAL_VARIATION, head().artefacts(), same)
    torch.testing.assert_close(mapped(STAR, head().artefacts(), settings), plain, atol=2e-3, rtol=0)


def test_star_takes_a_bleed_out_before_it_maps_the_weak_sources() -> None:
    artefacts = head().artefacts()
    bleed = torch.zeros(head().grid.shape)
    bleed[24:27, 16:19, 16:19] = 2.0
    kernel = dipole_kernel(head().grid)
    field = torch.fft.irfftn(torch.fft.rfftn(bleed, dim=AXES) * kernel, s=head().grid.shape, dim=AXES)
    given = artefacts | {"local_field": (artefacts["local_field"] + field) * head().mask}
    settings = StarSettings(strong_iterations=15, iterations=15)
    far = head().mask.clone()
    far[22:29, 14:21, 14:21] = False
    shown = mapped(STAR, given, settings)
    clean = mapped(STAR, artefacts, settings)
    left = float((shown - clean)[far].std())
    assert float(shown[25, 17, 17]) > 1.0
    assert left < 0.25 * float(head().truth[head().mask].std())


def test_ilsqr_changes_the_first_map_in_the_cone_alone_and_for_the_better() -> None:
    artefacts = head().artefacts(torch.float64)
    wide = mapped(ILSQR, artefacts, IlsqrSettings())
    narrow = mapped(ILSQR, artefacts, IlsqrSettings(cone=0.01))
    assert head().error_percent(wide) < head().error_percent(narrow) - 1
    assert not torch.equal(wide, narrow)


def test_ilsqr_stops_where_the_residual_is_small_enough() -> None:
    counts = []
    for tolerance in (0.5, 1e-3):
        told: list[float] = []
        context = StepContext(head().grid, on_iteration=told.append)
        ILSQR.apply(head().artefacts(), context, replace(IlsqrSettings(), tolerance=tolerance))
        counts.append(len(told))
    assert counts[0] < counts[1] / 2
