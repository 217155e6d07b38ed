"""Other programs on the same k-space: BART by its files, SigPy and pygrappa by a Python that has them."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pipeline.reconstruction.coil_sensitivity.calibration import calibration_kspace
from pipeline.studies.reconstruction_bench import (
    POISSON,
    REGULAR,
    BenchCase,
    Row,
    children_seconds,
    image_row,
    sensitivity_row,
)
from pipeline.studies.reconstruction_peer_script import STRIDE

_SCRIPT = Path(__file__).with_name("reconstruction_peer_script.py")
_BART = "BART"
_CALIBRATION = 24
_TUNED = {
    REGULAR: ("-l2 -r0.001", "-l2 -r0.01", "-l1 -r0.012", "-l1 -r0.004", "-l1 -r0.02", "-l1 -r0.02 -i60"),
    POISSON: ("-l2 -r0.01", "-l1 -r0.003 -i100", "-l1 -r0.006 -i60", "-l1 -r0.01 -i60", "-l1 -r0.01"),
}
_TUNED_PYTHON = {
    REGULAR: (("pygrappa", "0.01"), ("pygrappa", "0.001"), ("sense", "0.01"), ("l1_wavelet", "0.001")),
    POISSON: (("sense", "0.01"), ("l1_wavelet", "0.0005"), ("l1_wavelet", "0.002")),
}
_PROGRAMS = {"pygrappa": ("pygrappa", "grappa")}


@dataclass(frozen=True)
class _Done:
    seconds: float
    processor_seconds: float


def bart_rows(case: BenchCase, sensitivities: Tensor, quick: bool) -> Iterator[tuple[Row, Tensor | None]]:
    """Yield BART's sensitivities and its reconstructions with several settings, fewer if quick, scored, with images."""
    program = shutil.which("bart")
    if program is None:
        yield Row(_BART, "", case.name, remark="not installed: apt-get install bart"), None
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for number, echo in enumerate(case.kspace.samples):
            _write_cfl(place / f"echo{number}", echo)
        _write_cfl(place / "maps", sensitivities)
        done = _run([program, "ecalib", "-m1", f"-r{_CALIBRATION}", "echo0", "own"], place)
        own = _read_cfl(place / "own")
        scored = sensitivity_row(case, _BART, "espirit", "-m1", own, done.seconds, done.processor_seconds)
        yield scored, None
        for options in _TUNED[case.name][:: 2 if quick else 1]:
            images, total = [], _Done(0.0, 0.0)
            for number in range(case.kspace.n_echoes):
                done = _run([program, "pics", "-S", *options.split(), f"echo{number}", "maps", "out"], place)
                total = _Done(total.seconds + done.seconds, total.processor_seconds + done.processor_seconds)
                images.append(_read_cfl(place / "out"))
            method = "cg_sense" if "-l2" in options else "l1_wavelet"
            made = torch.stack(images)
            yield image_row(case, _BART, method, options, made, total.seconds, total.processor_seconds), made


def python_rows(case: BenchCase, sensitivities: Tensor, python: str, quick: bool) -> Iterator[Row]:
    """Yield the rows of SigPy and pygrappa as another Python runs them."""
    with tempfile.TemporaryDirectory() as folder:
        stored, result = Path(folder, "case.npz"), Path(folder, "result.npz")
        np.savez(
            stored,
            samples=case.kspace.samples.numpy(),
            sensitivities=sensitivities.numpy(),
            calibration=_reference_of_whole_readouts(case),
        )
        for method, value in _TUNED_PYTHON[case.name][:: 2 if quick else 1]:
            program, name = _PROGRAMS.get(method, ("SigPy", "cg_sense" if method == "sense" else method))
            asked = [python, str(_SCRIPT), str(stored), str(result), method, value]
            done = subprocess.run(asked, check=False, capture_output=True, text=True, env=_same_threads())
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no output"])[-1]
                yield Row(program, name, case.name, value, remark=f"failed: {last}")
                continue
            with np.load(result) as made:
                images, seconds = torch.from_numpy(made["images"].astype(np.complex64)), float(made["seconds"])
            settings = f"lambda {value}"
            if method == "pygrappa":
                yield _of_some_planes(case, images, settings, seconds)
            else:
                yield image_row(case, program, name, settings, images, seconds, seconds)


def row_on_some_planes(case: BenchCase, whole: Row, images: Tensor) -> Row:
    """Return the row of a reconstruction of the whole volume, scored where pygrappa's is."""
    cut, planes = some_planes(case, images)
    row = image_row(cut, whole.program, whole.method, whole.settings, planes, whole.seconds, whole.processor_seconds)
    return replace(row, remark="scored where pygrappa is; time is that of all x")


def some_planes(case: BenchCase, images: Tensor) -> tuple[BenchCase, Tensor]:
    """Return a case and images of only those readout positions that pygrappa fills."""
    planes = slice(STRIDE // 2, None, STRIDE)
    cut = replace(
        case, truth=case.truth[..., planes], brain=case.brain[..., planes], name=f"{case.name}, every {STRIDE}th x"
    )
    return cut, images[..., planes]


def _of_some_planes(case: BenchCase, images: Tensor, settings: str, seconds: float) -> Row:
    cut, planes = some_planes(case, images)
    row = image_row(cut, "pygrappa", "grappa", settings, planes, STRIDE * seconds, STRIDE * seconds)
    return replace(row, remark=f"time is {STRIDE} times that of every {STRIDE}th x")


def _reference_of_whole_readouts(case: BenchCase) -> np.ndarray:
    """Return the gapless centre with its whole readouts, of which every x is calibrated by itself."""
    n_x = case.kspace.grid.shape[2]
    whole = calibration_kspace(case.kspace, n_x)
    size = [min(_CALIBRATION, length) for length in whole.shape[1:3]]
    for axis, length in enumerate(size, start=1):
        whole = whole.narrow(axis, whole.shape[axis] // 2 - length // 2, length)
    return whole.numpy()


def _same_threads() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}


def _run(command: list[str], folder: Path) -> _Done:
    began, spent = time.perf_counter(), children_seconds()
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=_same_threads())
    return _Done(time.perf_counter() - began, children_seconds() - spent)


def _write_cfl(path: Path, values: Tensor) -> None:
    """Write complex values in BART's format, whose first axis is our last."""
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, reversed(values.shape))) + "\n")
    values.contiguous().numpy().astype(np.complex64).tofile(path.with_suffix(".cfl"))


def _read_cfl(path: Path) -> Tensor:
    sizes = [int(word) for word in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    values = np.fromfile(path.with_suffix(".cfl"), dtype=np.complex64)
    return torch.from_numpy(values.reshape(sizes[::-1])).squeeze()
