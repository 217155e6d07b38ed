"""Other programs that unwrap phase, run on the same case in the same process or beside it, where they are installed."""

import importlib
import importlib.util
import math
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch
from torch import Tensor

from pipeline.studies.cases import Case
from pipeline.studies.step_scores import STEP_SCORES, Scores

STEP = "phase_unwrapping"
_REPEATS = 3


class PeerFailed(Exception):
    """Another program ended with an error; the sentence is its last line."""


@dataclass(frozen=True)
class Peer:
    """Another program: how to install it, whether it is there, and how it unwraps a case.

    `unwrap` returns the unwrapped phase [rad] of the echoes that it was given, `(echo, z, y, x)`, and its own time [s].
    """

    name: str
    install: str
    is_installed: Callable[[], bool]
    unwrap: Callable[[Case], tuple[Tensor, float]]


@dataclass(frozen=True)
class PeerTiming:
    """What a peer took [s] and how right it was; `remark` says why it did not run."""

    name: str
    seconds: float = math.nan
    scores: Scores | None = None
    remark: str = ""


def time_peers(case: Case) -> list[PeerTiming]:
    """Run every peer that is installed on a case; name the others with the command that installs them."""
    timings = []
    for peer in PEERS:
        if not peer.is_installed():
            timings.append(PeerTiming(peer.name, remark=f"not installed: {peer.install}"))
            continue
        try:
            unwrapped, seconds = peer.unwrap(case)
        except PeerFailed as failure:
            timings.append(PeerTiming(peer.name, remark=f"failed: {failure}"))
            continue
        timings.append(PeerTiming(peer.name, seconds, _score(case, unwrapped)))
    return timings


def _score(case: Case, unwrapped: Tensor) -> Scores:
    """Score all echoes, or the last where only that was unwrapped; the others then count as right."""
    whole = case.unwrapped_phase.clone()
    whole[-len(unwrapped) :] = unwrapped
    return STEP_SCORES[STEP].score(case, {"unwrapped_phase": whole})


def warpkit_seconds(case: Case) -> float:
    """Return the time that warpkit's ROMEO takes for all echoes, called directly [s]."""
    return _warpkit(case)[1]


def _is_importable(module: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(module) is not None


def _x_first(volumes: Tensor) -> np.ndarray:
    return np.ascontiguousarray(volumes.numpy().astype(np.float32).T)


def _z_first(volumes: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.asarray(volumes, dtype=np.float32).T))


def _best(work: Callable[[], Any]) -> tuple[Any, float]:
    best = math.inf
    for _ in range(_REPEATS):
        began = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - began)
    return result, best


def _warpkit(case: Case) -> tuple[Tensor, float]:
    unwrap = importlib.import_module("warpkit.warpkit_cpp").romeo_unwrap4d
    phase, magnitude = _x_first(case.offset_free_phase), _x_first(case.scan.acquisition.magnitude)
    mask = np.ascontiguousarray(case.mask.numpy().T)
    times_ms = np.asarray(case.protocol.echo_times_s, dtype=np.float32) * 1e3
    unwrapped, seconds = _best(
        lambda: unwrap(phase, times_ms, "romeo", magnitude, mask, correct_global=True, maxseeds=1, merge_regions=False)
    )
    return _z_first(unwrapped), seconds


def _scikit_image(case: Case) -> tuple[Tensor, float]:
    unwrap = importlib.import_module("skimage.restoration").unwrap_phase
    last = np.ma.array(case.offset_free_phase[-1].numpy(), mask=~case.mask.numpy())
    unwrapped, seconds = _best(lambda: unwrap(last))
    return torch.from_numpy(np.ma.filled(unwrapped, 0).astype(np.float32))[None], seconds


def _niimath_program() -> str | None:
    """Return the program on the path, or the one inside its Python package."""
    spec = importlib.util.find_spec("niimath")
    packaged = Path(spec.origin).parent / "bin" / "niimath" if spec is not None and spec.origin else None
    found = shutil.which("niimath")
    return found or (str(packaged) if packaged is not None and packaged.is_file() else None)


def _niimath(case: Case) -> tuple[Tensor, float]:
    affine = np.diag([*reversed(case.grid.voxel_size_mm), 1.0])
    times_ms = ",".join(f"{1e3 * seconds:g}" for seconds in case.protocol.echo_times_s)
    with tempfile.TemporaryDirectory() as folder:
        # The program packs what it writes whatever the name says.
        files = {name: str(Path(folder, f"{name}.nii")) for name in ("phase", "magnitude", "mask")}
        files["unwrapped"] = str(Path(folder, "unwrapped.nii.gz"))
        images = {"phase": case.offset_free_phase, "magnitude": case.scan.acquisition.magnitude, "mask": case.mask}
        for name, volume in images.items():
            nibabel.save(nibabel.Nifti1Image(_x_first(volume), affine), files[name])
        command = [
            _niimath_program() or "niimath",
            files["phase"],
            "-romeo",
            files["magnitude"],
            "-t",
            times_ms,
            "-k",
            files["mask"],
        ]
        done, seconds = _best(
            lambda: subprocess.run([*command, files["unwrapped"]], check=False, capture_output=True, text=True)
        )
        if done.returncode or not Path(files["unwrapped"]).is_file():
            raise PeerFailed(((done.stderr or done.stdout).strip().splitlines() or ["it wrote no file"])[-1])
        return _z_first(np.asarray(nibabel.load(files["unwrapped"]).dataobj)), seconds


PEERS = (
    Peer("warpkit (ROMEO, all echoes, in memory)", "pip install warpkit", _is_importable("warpkit"), _warpkit),
    Peer(
        "niimath (ROMEO, all echoes, with its files)",
        "pip install niimath",
        lambda: _niimath_program() is not None,
        _niimath,
    ),
    Peer(
        "scikit-image (best path, last echo)",
        "pip install scikit-image",
        _is_importable("skimage"),
        _scikit_image,
    ),
)
