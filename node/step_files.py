"""The files of one step alone, under QSM-CI's names and units: fields and susceptibility [ppm], phase [rad], times [s].

QSM-CI's stages exchange `phase`, `magnitude`, `mask`, `totalfield`, `localfield`, `chimap` and `params.json`; the steps
of Lodestone are finer, so their other artefacts have files named like themselves.
"""

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from node.nifti import ROUNDING, Volume, check_same_grid, grid_of, phase_in_radians, read_stack, unit_zyx, write_volume
from pipeline.errors import InvalidRecipe, UnusableInput
from pipeline.grid import Grid
from pipeline.input_check import PER_COIL, PER_ECHO, PER_MAP, PER_ORIENTATION
from pipeline.method import nearest
from pipeline.methods import STEPS
from pipeline.units import hz_to_ppm

QSM_CI_NAMES = {"total_field": "totalfield", "local_field": "localfield", "susceptibility": "chimap"}
STAGES = {
    "field-mapping": ("phase_offset_removal", "phase_unwrapping", "echo_combination"),
    "bfr": ("background_field_removal",),
    "dipole": ("dipole_inversion",),
}
UNITS = {
    "phase": "rad",
    "unwrapped_phase": "rad",
    "total_field": "ppm",
    "field_noise": "ppm",
    "local_field": "ppm",
    "explained_field": "ppm",
    "susceptibility": "ppm",
    "start": "ppm",
    "classical_susceptibility": "ppm",
    "susceptibility_spread": "ppm",
    "cone_part": "ppm",
    "paramagnetic": "ppm",
    "diamagnetic": "ppm",
    "r2star": "1/s",
    "t2star": "s",
}
FIELDS = frozenset({"total_field", "field_noise", "local_field", "local_fields"})
MASKS = frozenset({"mask", "region", "reliable_mask"})
WITH_OPTION = PER_ECHO | {"mask", "quality", "total_field", "field_noise", "local_field", "susceptibility"}
"""Artefacts that `lodestone step` has an option for; the others are given by `--in`."""
ARTEFACTS = tuple(
    dict.fromkeys(
        name
        for methods in STEPS.values()
        for method in methods.values()
        for name in (*method.inputs, *method.optional_inputs)
    )
)
PARAMETERS = "params.json"
SUFFIXES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class StepFiles:
    """Where a step's inputs are: files by artefact, else a folder with QSM-CI's names; and what files cannot say.

    `b0_directions` are in voxel axes x, y, z: none, one, or one per head orientation.
    """

    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    folder: Path | None = None
    echo_times_s: tuple[float, ...] = ()
    b0_tesla: float | None = None
    b0_directions: tuple[tuple[float, float, float], ...] = ()
    phase_scale: float | None = None
    fields_in_hz: bool = False


@dataclass(frozen=True)
class StepInput:
    """Artefacts as tensors on one grid; `paths` are the files they came from."""

    artefacts: dict[str, Tensor]
    grid: Grid
    echo_times_s: tuple[float, ...]
    b0_tesla: float | None
    b0_directions: tuple[tuple[float, float, float], ...]
    affine: np.ndarray
    paths: dict[str, tuple[Path, ...]]


def read_step_input(given: StepFiles, needed: Sequence[str], optional: Sequence[str], device: str) -> StepInput:
    """Read the artefacts that a step needs, and those of the optional ones that are there.

    Raises
    ------
    UnusableInput
        A needed artefact is not given, or the files do not lie on one grid.
    """
    given = with_parameters(given)
    paths = {name: _paths(given, name) for name in (*needed, *optional)}
    missing = [name for name in needed if not paths[name]]
    if missing:
        raise UnusableInput(
            f"The step needs {', '.join(missing)}: give {' '.join(option(name) for name in missing)}, or with --input "
            f"a folder that holds {', '.join(file_name(name) for name in missing)}."
        )
    volumes = {name: read_stack(found, 5 if name in PER_COIL else 4) for name, found in paths.items() if found}
    reference = next(iter(volumes.values()))[0]
    for stack in volumes.values():
        check_same_grid(reference, stack[0])
    n_echoes = {sum(volume.n_echoes for volume in stack) for name, stack in volumes.items() if name in PER_ECHO}
    if "magnitude" in volumes and not PER_ECHO & (volumes.keys() - {"magnitude"}):
        # A magnitude alone, beside a field, may be one image for all echoes.
        n_echoes -= {1}
    if len(n_echoes) > 1 or (given.echo_times_s and n_echoes and n_echoes != {len(given.echo_times_s)}):
        counts = ", ".join(str(count) for count in sorted(n_echoes))
        raise UnusableInput(f"Echoes disagree: {counts} volumes per file and {len(given.echo_times_s)} echo times.")
    directions = tuple(unit_zyx(direction) for direction in given.b0_directions)
    orientations = [sum(volume.n_echoes for volume in volumes[name]) for name in PER_ORIENTATION & volumes.keys()]
    _refuse_wrong_directions(len(directions), orientations)
    return StepInput(
        artefacts={name: _tensor(name, stack, given, device) for name, stack in volumes.items()},
        grid=grid_of(reference, given.b0_directions[0] if directions else None),
        echo_times_s=given.echo_times_s,
        b0_tesla=given.b0_tesla,
        b0_directions=directions,
        affine=reference.affine,
        paths={name: found for name, found in paths.items() if found},
    )


def with_parameters(given: StepFiles) -> StepFiles:
    """Fill what is not given from the folder's `params.json`: TE [s], B0 [T], B0_dir (x, y, z in voxel axes)."""
    if given.folder is None or not (given.folder / PARAMETERS).is_file():
        return given
    path = given.folder / PARAMETERS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        direction = content.get("B0_dir")
        return replace(
            given,
            echo_times_s=given.echo_times_s or tuple(float(time) for time in content.get("TE", ())),
            b0_tesla=given.b0_tesla or float(content["B0"]),
            b0_directions=given.b0_directions or ((_three(direction),) if direction is not None else ()),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableInput(f"{path} is no params.json with TE [s], B0 [T] and B0_dir: {error}.") from error


def named_files(words: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """Read `NAME=FILE` words; one artefact may be named several times, once per echo.

    Raises
    ------
    UnusableInput
        A word holds no equals sign, or names no artefact; the sentence names the nearest right one.
    """
    files: dict[str, tuple[Path, ...]] = {}
    own_names = {qsm_ci: own for own, qsm_ci in QSM_CI_NAMES.items()}
    for word in words:
        name, equals, path = word.partition("=")
        artefact = own_names.get(name, name.replace("-", "_"))
        if not (equals and path):
            raise UnusableInput(f"{word!r} is no input; write --in NAME=FILE, for example --in mask=mask.nii.gz.")
        if artefact not in ARTEFACTS:
            raise UnusableInput(f"There is no artefact '{name}'; {nearest(artefact, ARTEFACTS)}")
        files[artefact] = (*files.get(artefact, ()), Path(path))
    return files


def is_file_name(out: Path) -> bool:
    """Tell whether `--out` names one NIfTI file, not a folder."""
    return out.name.endswith(SUFFIXES)


def beside(out: Path, ending: str) -> Path:
    """Return the file next to `out` that carries its name and another ending."""
    return out.with_name(out.name.removesuffix(".gz").removesuffix(".nii") + ending)


def write_artefacts(out: Path, artefacts: Mapping[str, Tensor], names: Iterable[str], affine: np.ndarray) -> list[Path]:
    """Write the named artefacts as NIfTI files and return their paths.

    Where `out` is a file name, the first artefact, after which the step is named, goes there and the others beside it.
    """
    into_file = is_file_name(out)
    (out.parent if into_file else out).mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name in names:
        path = out / file_name(name)
        if into_file:
            path = beside(out, f"_{file_name(name)}") if paths else out
        unit = UNITS.get(name, "")
        write_volume(path, artefacts[name].detach().cpu().numpy(), affine, f"{name} [{unit}], Lodestone")
        paths.append(path)
    return paths


def file_name(artefact: str) -> str:
    """Return the name of an artefact's file: QSM-CI's where it has one."""
    return f"{QSM_CI_NAMES.get(artefact, artefact)}.nii.gz"


def option(artefact: str) -> str:
    """Return the command-line option that names an artefact's file."""
    return f"--{artefact.replace('_', '-')}" if artefact in WITH_OPTION else f"--in {artefact}=FILE"


def parse_settings(words: Sequence[str]) -> dict[str, Any]:
    """Read `NAME=VALUE` words; a value is written as in a recipe (TOML), a bare word is a text.

    Raises
    ------
    InvalidRecipe
        A word holds no equals sign.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise InvalidRecipe(f"{word!r} is no setting; write --set NAME=VALUE, for example --set threshold=0.2.")
        try:
            values[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[name.strip()] = value
    return values


def _paths(given: StepFiles, artefact: str) -> tuple[Path, ...]:
    named = given.files.get(artefact, ())
    if named or given.folder is None:
        return named
    stems = dict.fromkeys((QSM_CI_NAMES.get(artefact, artefact), artefact))
    candidates = [given.folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES]
    return tuple(path for path in candidates if path.is_file())[:1]


def _refuse_wrong_directions(n_directions: int, orientations: Sequence[int]) -> None:
    if orientations and orientations[0] != n_directions:
        raise UnusableInput(
            f"There are {orientations[0]} head orientations and {n_directions} directions of B0; give --b0-direction "
            "X Y Z once for each orientation."
        )
    if not orientations and n_directions > 1:
        raise UnusableInput(f"The step knows one direction of B0; {n_directions} were given.")


def _tensor(name: str, stack: Sequence[Volume], given: StepFiles, device: str) -> Tensor:
    values = np.concatenate([volume.values for volume in stack])
    if name in ("phase", "coil_phase") and (
        given.phase_scale is not None or np.abs(values).max() > math.pi * (1 + ROUNDING)
    ):
        values = phase_in_radians(stack, given.phase_scale)[0]
    if name in FIELDS and given.fields_in_hz:
        if given.b0_tesla is None:
            raise UnusableInput("Fields in Hz need the field strength; give --b0-tesla.")
        values = values * np.float32(hz_to_ppm(1.0, given.b0_tesla))
    if name in PER_COIL:
        values = _by_coil(name, values, len(given.echo_times_s))
    elif name not in PER_ECHO | PER_ORIENTATION | PER_MAP:
        values = _only_volume(name, values)
    array = values > 0.5 if name in MASKS else values
    return torch.tensor(np.ascontiguousarray(array), device=device)


def _by_coil(name: str, values: np.ndarray, n_echoes: int) -> np.ndarray:
    """Return `(echo, coil, z, y, x)`; the volumes come echo by echo."""
    if not n_echoes or len(values) % n_echoes:
        raise UnusableInput(
            f"'{name}' holds {len(values)} volumes, which {n_echoes} echo times do not divide; give --echo-times-s and "
            "one file (x, y, z, echo, coil) or one file (x, y, z, coil) per echo."
        )
    return values.reshape(n_echoes, -1, *values.shape[1:])


def _only_volume(name: str, values: np.ndarray) -> np.ndarray:
    if len(values) > 1:
        raise UnusableInput(f"'{name}' holds {len(values)} volumes; give one (x, y, z).")
    only: np.ndarray = values[0]
    return only


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
