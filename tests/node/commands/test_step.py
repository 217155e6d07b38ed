"""`lodestone step` runs every method of every table on NIfTI files, and refuses bad files with a sentence."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import nibabel
import numpy as np
import pytest
from torch import Tensor

from node.cli import main
from node.step_files import PER_ORIENTATION
from pipeline.methods import STEPS
from pipeline.networks.weights import is_trained
from tests.pipeline.small_scan import B0_TESLA, DIRECTIONS, ECHO_TIMES_S, quick, small_scan

AFFINE = np.array([[0.0, 0.0, 1.0, -20.0], [-1.0, 0.0, 0.0, 15.0], [0.0, -1.0, 0.0, 12.0], [0.0, 0.0, 0.0, 1.0]])
"""A sagittal acquisition: the third voxel axis runs from left to right, B0 runs against the second."""
EVERY_METHOD = [
    (step, name)
    for step, methods in STEPS.items()
    for name, method in methods.items()
    if not method.learned or is_trained(name)
]
UNTRAINED = [name for name, way in STEPS["dipole_inversion"].items() if way.learned and not is_trained(name)]
Lodestone = Callable[..., tuple[int, str]]


def save(path: Path, values: Tensor | np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(np.asarray(values, dtype=np.float32).T, AFFINE), path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a file of every artefact of the small scan; the axes of NIfTI are x, y, z, echo, coil."""
    folder = tmp_path_factory.mktemp("artefacts")
    volumes = {}
    for name, values in small_scan().artefacts.items():
        volumes[name] = save(folder / f"{name}.nii", values.transpose(0, 1) if values.ndim == 5 else values)
    return volumes


@pytest.fixture
def lodestone(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Lodestone:
    """Return a function that gives the exit status and all that was printed."""

    def run(*words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["lodestone", *map(str, words), "--threads", "1"])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        printed = capfd.readouterr()
        return status, " ".join((printed.out + printed.err).split())

    return run


def words_of(step: str, name: str, files: dict[str, Path]) -> list[object]:
    method = STEPS[step][name]
    values = asdict(quick(method))
    short = [("--set", f"{item}={values[item]}") for item in values if "iterations" in item or "rounds" in item]
    inputs = [f"{name}={files[name]}" for name in (*method.inputs, *method.optional_inputs) if name in files]
    words: list[object] = [step, "--method", name, "--in", *inputs, "--b0-tesla", B0_TESLA, "--echo-times-s"]
    words += ECHO_TIMES_S
    for directions in DIRECTIONS if PER_ORIENTATION & set(method.inputs) else ((0.0, -1.0, 0.0),):
        words += ["--b0-direction", *directions]
    return words + [word for pair in short for word in pair]


@pytest.mark.parametrize(("step", "name"), EVERY_METHOD, ids=["-".join(pair) for pair in EVERY_METHOD])
def test_every_method_runs_alone_on_nifti_files(
    step: str, name: str, files: dict[str, Path], lodestone: Lodestone, tmp_path: Path
) -> None:
    status, printed = lodestone("step", *words_of(step, name, files), "--out", tmp_path / "made.nii.gz")
    assert status == 0, printed
    made = nibabel.load(tmp_path / "made.nii.gz")
    values = np.asarray(made.dataobj)
    assert values.shape[:3] == small_scan().head.grid.shape[::-1]
    assert np.isfinite(values).all()
    assert values.any()
    np.testing.assert_allclose(made.affine, AFFINE)
    document = json.loads((tmp_path / "made.json").read_text())
    assert document["steps"][0]["method"] == name
    for artefact in STEPS[step][name].outputs[1:]:
        assert list(tmp_path.glob(f"made_*{artefact.replace('_', '')[:4]}*")), f"{artefact} is not beside the map"


@pytest.mark.parametrize("name", UNTRAINED)
def test_a_network_that_nobody_trained_is_refused_with_the_command_that_trains_it(
    name: str, files: dict[str, Path], lodestone: Lodestone, tmp_path: Path
) -> None:
    status, printed = lodestone("step", *words_of("dipole_inversion", name, files), "--out", tmp_path / "made.nii.gz")
    assert status == 1
    assert f"lodestone train {name} --export" in printed
    assert not (tmp_path / "made.nii.gz").exists()


def test_the_direction_of_b0_comes_from_the_affine(
    files: dict[str, Path], lodestone: Lodestone, tmp_path: Path
) -> None:
    inputs = ["--method", "tkd", "--in", f"local_field={files['local_field']}", f"mask={files['mask']}"]
    ways = {"affine": [], "same": ["--b0-direction", "0", "-1", "0"], "other": ["--b0-direction", "1", "0", "0"]}
    maps = {}
    for way, words in ways.items():
        assert lodestone("step", "dipole_inversion", *inputs, *words, "--out", tmp_path / f"{way}.nii")[0] == 0
        maps[way] = np.asarray(nibabel.load(tmp_path / f"{way}.nii").dataobj)
    np.testing.assert_array_equal(maps["affine"], maps["same"])
    assert np.abs(maps["other"] - maps["same"]).max() > 0.01


def changed(values: Tensor, where: tuple[int, ...], value: float) -> Tensor:
    values = values.clone()
    values[where] = value
    return values


SCAN = small_scan()
CENTRE = tuple(size // 2 for size in SCAN.head.grid.shape)
FIELD, MASK = SCAN.artefacts["local_field"], SCAN.artefacts["mask"].float()


@pytest.mark.parametrize(
    ("field", "mask", "more", "sentence"),
    [
        (FIELD, MASK * 0, (), "The mask holds 0 voxels"),
        (FIELD, changed(MASK * 0, CENTRE, 1.0), (), "mask holds 1 voxels"),
        (changed(FIELD, CENTRE, float("nan")), MASK, (), "NaN or infinite"),
        (changed(FIELD, CENTRE, float("inf")), MASK, (), "NaN or infinite"),
        (FIELD[1:], MASK, (), "grid"),
        (FIELD, MASK, ("--b0-direction", 0, 0, 0), "direction"),
        (FIELD, MASK, ("--set", "treshold=0.1"), "did you mean 'threshold'"),
        (FIELD, MASK, ("--set", "threshold=-1"), "threshold"),
    ],
    ids=["empty mask", "one voxel", "NaN", "infinity", "wrong shape", "no direction", "wrong name", "wrong value"],
)
def test_what_cannot_be_mapped_is_refused_with_a_sentence_and_no_file(
    field: Tensor, mask: Tensor, more: tuple[object, ...], sentence: str, lodestone: Lodestone, tmp_path: Path
) -> None:
    inputs = [f"local_field={save(tmp_path / 'f.nii', field)}", f"mask={save(tmp_path / 'm.nii', mask)}"]
    words = ["dipole_inversion", "--method", "tkd", "--in", *inputs, *more, "--out", tmp_path / "made.nii"]
    status, printed = lodestone("step", *words)
    assert status != 0
    assert sentence in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "made.nii").exists()


@pytest.mark.parametrize("times", [(0.008, 0.004, 0.012, 0.016), (0.004, 0.004, 0.008, 0.012)], ids=str)
def test_echo_times_that_do_not_rise_are_refused(
    times: tuple[float, ...], files: dict[str, Path], lodestone: Lodestone, tmp_path: Path
) -> None:
    inputs = [f"{name}={files[name]}" for name in ("unwrapped_phase", "magnitude", "mask")]
    words = ["echo_combination", "--in", *inputs, "--b0-tesla", 3, "--echo-times-s", *times]
    status, printed = lodestone("step", *words, "--out", tmp_path / "made.nii")
    assert status != 0
    assert "rise" in printed


@pytest.mark.parametrize("name", [name for name in STEPS["background_field_removal"] if name not in ("pdf", "lbv")])
def test_a_volume_smaller_than_the_kernel_is_refused(name: str, lodestone: Lodestone, tmp_path: Path) -> None:
    crop = (slice(14, 20), slice(16, 22), slice(16, 22))
    method = STEPS["background_field_removal"][name]
    volumes = {artefact: SCAN.artefacts[artefact] for artefact in (*method.inputs, "field_noise", "magnitude")}
    inputs = [
        f"{artefact}={save(tmp_path / f'{artefact}.nii', values[(..., *crop)])}" for artefact, values in volumes.items()
    ]
    words = ["--method", name, "--in", *inputs, "--out", tmp_path / "made.nii"]
    status, printed = lodestone("step", "background_field_removal", *words)
    assert status != 0
    assert "Traceback" not in printed
    assert not (tmp_path / "made.nii").exists()
