import math

import pytest

from node.commands.bench_reconstruction import judged
from pipeline.studies.reconstruction_bench import Row


def row(program: str, psnr: float, phase: float, seconds: float, method: str = "cg_sense") -> Row:
    return Row(program, method, "AF 2", psnr_db=psnr, phase_mrad=phase, processor_seconds=seconds)


def test_ours_is_compared_with_the_best_and_the_fastest_that_is_as_good() -> None:
    rows = [row("Lodestone", 37.0, 36.0, 5.0), row("BART", 36.0, 40.0, 10.0), row("SigPy", 36.5, 60.0, 2.0)]
    (verdict,) = judged(rows)
    assert verdict.psnr_gain_db == pytest.approx(0.5)
    assert verdict.error_ratio == pytest.approx(0.9)
    assert verdict.time_ratio == pytest.approx(0.5)
    assert verdict.is_reached


@pytest.mark.parametrize(("psnr", "phase", "seconds"), [(35.0, 36.0, 5.0), (37.0, 41.0, 5.0), (37.0, 36.0, 8.0)])
def test_worse_or_slower_is_not_reached(psnr: float, phase: float, seconds: float) -> None:
    (verdict,) = judged([row("Lodestone", psnr, phase, seconds), row("BART", 36.0, 40.0, 10.0)])
    assert not verdict.is_reached


def test_what_no_other_program_did_is_not_judged() -> None:
    others = [row("BART", 36.0, 40.0, 10.0, "l1_wavelet"), row("SigPy", math.nan, math.nan, math.nan)]
    assert not judged([row("Lodestone", 37.0, 36.0, 5.0), *others])


def test_sensitivities_are_judged_by_what_they_leave_unexplained() -> None:
    def found(program: str, unexplained: float, seconds: float) -> Row:
        return Row(program, "espirit", "AF 2", processor_seconds=seconds, unexplained_percent=unexplained)

    (verdict,) = judged([found("Lodestone", 0.7, 1.0), found("BART", 0.8, 20.0)])
    assert math.isnan(verdict.psnr_gain_db)
    assert verdict.error_ratio == pytest.approx(0.875)
    assert verdict.is_reached
    (worse,) = judged([found("Lodestone", 0.9, 1.0), found("BART", 0.8, 20.0)])
    assert not worse.is_reached


@pytest.mark.parametrize(
    ("psnr", "phase", "is_reached"), [(37.1, 39.0, True), (36.9, 39.0, False), (37.1, 41.0, False)]
)
def test_a_network_is_judged_by_the_best_wavelet_sparse_images_of_others_and_may_take_its_time(
    psnr: float, phase: float, is_reached: bool
) -> None:
    ours = row("Lodestone", psnr, phase, 500.0, "variational_network")
    (verdict,) = judged([ours, row("BART", 36.0, 40.0, 10.0, "l1_wavelet"), row("BART", 38.0, 30.0, 10.0)])
    assert verdict.beside == "l1_wavelet"
    assert verdict.is_reached is is_reached
