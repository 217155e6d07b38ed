import math
from functools import cache
from pathlib import Path

import pytest

from pipeline.studies.reconstruction_bench import REGULAR, BenchCase, image_row, our_rows, sensitivity_row
from pipeline.studies.reconstruction_peers import bart_rows, python_rows, row_on_some_planes, some_planes
from tests.pipeline.reconstruction.small_kspace import every_second_line, small_scan


@cache
def case() -> BenchCase:
    scan = small_scan(every_second_line(), correlation=0.0)
    return BenchCase(REGULAR, scan.kspace, scan.images, scan.sensitivities, scan.inside)


def test_the_truth_scores_best() -> None:
    row = image_row(case(), "nobody", "truth", "", case().truth, 1.0, 2.0)
    assert row.psnr_db == math.inf
    assert row.ssim == pytest.approx(1.0)
    assert row.phase_mrad < 0.1
    assert (row.seconds, row.processor_seconds) == (1.0, 2.0)
    assert sensitivity_row(case(), "nobody", "truth", "", case().true_sensitivities, 0, 0).unexplained_percent < 0.01


def test_ours_are_scored_by_method() -> None:
    rows, sensitivities, images = our_rows(case(), ("cg_sense", "zero_filled"))
    assert [row.method for row in rows] == ["espirit", "cg_sense", "zero_filled"]
    assert set(images) == {"cg_sense", "zero_filled"}
    assert sensitivities.shape == case().true_sensitivities.shape
    assert rows[1].psnr_db > rows[2].psnr_db + 3
    assert rows[0].unexplained_percent < 3


def test_bart_reconstructs_the_same_k_space(program) -> None:
    program("bart")
    rows = [row for row, _ in bart_rows(case(), case().true_sensitivities, quick=True)]
    ours = our_rows(case(), ("cg_sense",))[0][1]
    theirs = next(row for row in rows if row.method == "cg_sense")
    # A file written with its axes or its centre elsewhere gives less than 20 dB.
    assert theirs.psnr_db > 40
    assert theirs.phase_mrad < 2 * ours.phase_mrad
    assert theirs.processor_seconds > 0


def test_a_python_without_the_peers_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'No module named sigpy' >&2\nexit 1\n")
    python.chmod(0o755)
    rows = list(python_rows(case(), case().true_sensitivities, str(python), quick=True))
    assert {row.remark for row in rows} == {"failed: No module named sigpy"}


def test_some_planes_are_cut_from_case_and_images_alike() -> None:
    cut, planes = some_planes(case(), case().truth)
    assert planes.shape[:3] == case().truth.shape[:3]
    assert planes.shape == cut.truth.shape
    assert cut.brain.shape == cut.truth.shape[1:]


def test_a_whole_reconstruction_is_scored_where_another_program_made_a_part() -> None:
    rows, _, images = our_rows(case(), ("grappa",))
    whole = next(row for row in rows if row.method == "grappa")
    part = row_on_some_planes(case(), whole, images["grappa"])
    cut, planes = some_planes(case(), images["grappa"])
    assert part.case == cut.name
    assert part.processor_seconds == whole.processor_seconds
    assert part.phase_mrad == image_row(cut, "", "", "", planes, 0, 0).phase_mrad
