"""`lodestone train`: trains a network of the table, goes on where it stopped, and exports weights with their card."""

import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from matplotlib.image import imsave
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from node.commands.bench_progress import without_nan
from node.commands.console import err, out, print_json
from node.commands.failures import INTERRUPTED
from node.commands.train_figure import draw_curves
from node.convert import choose_device
from node.software import code_revision
from pipeline.networks.weights import FOLDER
from pipeline.training.checkpoints import FILE, load_checkpoint
from pipeline.training.datasets.preview import preview
from pipeline.training.export import Exported, export
from pipeline.training.plans import find_plan
from pipeline.training.reconstruction_export import export_reconstruction
from pipeline.training.reconstruction_plans import RECONSTRUCTION_PLANS
from pipeline.training.reconstruction_trainer import train_reconstruction
from pipeline.training.trainer import Listener, Outcome, TrainingSettings, train

CURVES = "curves.png"
_DEFAULT_HOURS = 1.0
_THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True)
class Options:
    """Where a training runs and what is made of it.

    Attributes
    ----------
    folder
        Of checkpoint and curves.
    device
        "auto", "cpu" or "cuda".
    resumes
        Go on with the checkpoint in the folder.
    exports
        Write weights and card at the end.
    weights_folder
        Where to.
    """

    folder: Path
    device: str = "auto"
    resumes: bool = False
    exports: bool = False
    weights_folder: Path = FOLDER
    as_json: bool = False


def train_network(settings: TrainingSettings, options: Options) -> None:
    """Train, tell how it goes, and export where asked.

    Raises
    ------
    UnknownMethod
        There is no such network.
    UnusableInput
        The folder holds another training, or one that --resume was not given for.
    NotConverged
        The loss is not a number.
    """
    is_reconstruction = settings.network in RECONSTRUCTION_PLANS
    if not is_reconstruction:
        find_plan(settings.network)
    device = torch.device(choose_device(options.device))
    settings = replace(settings, n_workers=_workers(settings.n_workers, device))
    if settings.steps is None and settings.hours is None:
        settings = replace(settings, hours=_DEFAULT_HOURS)
    if _THREADS not in os.environ:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) - settings.n_workers))
    found = load_checkpoint(options.folder) if options.resumes else None
    with Stop() as stop, TrainingDisplay(settings, options, found.step if found else 0) as display:
        listener = Listener(display.step, display.validation, stop.is_wanted)
        begin = train_reconstruction if is_reconstruction else train
        outcome = begin(
            settings, options.folder, device, resumes=options.resumes, facts=_facts(device), listener=listener
        )
    exported = None
    if options.exports and outcome.reason != "interrupted":
        exported = _exported(settings, outcome, options.weights_folder)
    _report(outcome, exported, options)
    if outcome.reason == "interrupted":
        sys.exit(INTERRUPTED)


def _exported(settings: TrainingSettings, outcome: Outcome, folder: Path) -> Exported:
    if settings.network in RECONSTRUCTION_PLANS:
        return export_reconstruction(outcome.checkpoint, settings.n_validation, folder)
    patch = int(outcome.checkpoint.identity["patch"])
    recipe = replace(find_plan(settings.network).recipe, shape=(patch,) * 3, orientations=settings.orientations)
    return export(outcome.checkpoint, recipe, settings.n_validation, folder)


def write_preview(settings: TrainingSettings, path: Path) -> None:
    """Write a picture of the samples that a training would be shown.

    Raises
    ------
    UnknownMethod
        There is no such network.
    """
    plan = find_plan(settings.network)
    patch = settings.patch or plan.patch
    recipe = replace(plan.recipe, shape=(patch, patch, patch), orientations=settings.orientations)
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, preview(recipe, settings.seed), cmap="gray", vmin=0, vmax=255)
    out.print(f"{path}: samples of seed {settings.seed}, a row each: susceptibility, field, magnitude")


class Stop:
    """Hears the first Ctrl-C or SIGTERM, after which a second one ends the program at once."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._former: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def is_wanted(self) -> bool:
        """Tell whether somebody asked to stop."""
        return self._is_wanted

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._is_wanted = True
        self.__exit__()


class TrainingDisplay:
    """Shows a bar on a terminal, a line per validation elsewhere, and keeps the picture of the curves."""

    def __init__(self, settings: TrainingSettings, options: Options, first_step: int) -> None:
        self._settings, self._options = settings, options
        self._error = ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=err,
            disable=options.as_json or not err.is_terminal,
        )
        self._task = self._progress.add_task(f"{settings.network}, step {first_step}", total=1.0)

    def __enter__(self) -> "TrainingDisplay":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def step(self, step: int, progress: float, loss: float) -> None:
        """Move the bar."""
        description = f"{self._settings.network}, step {step}, loss {loss:.4f}{self._error}"
        self._progress.update(self._task, completed=progress, description=description)

    def validation(self, history: Sequence[dict[str, float]]) -> None:
        """Draw the curves anew, and say the newest error."""
        draw_curves(self._settings.network, history, self._options.folder / CURVES)
        row = history[-1]
        means = (("mean", "nrmse"), ("typical", "typical_nrmse"))
        self._error = ", held-out NRMSE " + ", ".join(f"{word} {_beside_start(row, key)}" for word, key in means)
        if not (self._options.as_json or err.is_terminal):
            err.print(f"step {row['step']:.0f}, {row['hours']:.2f} h, loss {row['loss']:.4f}{self._error}")


def _beside_start(row: Mapping[str, float], key: str) -> str:
    start = row.get(f"start_{key}")
    return f"{row[key]:.2f} %" if start is None else f"{row[key]:.2f} % (start map {start:.2f} %)"


def _workers(wanted: int, device: torch.device) -> int:
    """Return how many processes make samples: on a GPU none, it makes its own; else one."""
    if wanted >= 0:
        return wanted
    return 0 if device.type == "cuda" else 1


def _facts(device: torch.device) -> dict[str, Any]:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        name = f"CPU, {torch.get_num_threads()} threads, {platform.machine()}"
    return {"device": name, "code_revision": code_revision(), "torch": str(torch.__version__)}


def _report(outcome: Outcome, exported: Exported | None, options: Options) -> None:
    state = outcome.checkpoint
    path = options.folder / FILE
    if options.as_json:
        print_json(
            {
                **state.identity,
                "reason": outcome.reason,
                "steps": state.step,
                "hours": round(state.seconds / 3600, 4),
                "best_step": state.best_step,
                "kept_step": state.kept_step,
                "validations": without_nan(state.history),
                "checkpoint": path,
                "curves": options.folder / CURVES,
                **({} if exported is None else _exported_document(exported)),
            }
        )
        return
    out.print(
        f"{state.identity['network']}: {state.step} steps, {state.seconds / 3600:.2f} h; ended by {outcome.reason}"
    )
    out.print(f"checkpoint {path}, keeps the weights after step {state.kept_step}")
    if exported is not None:
        state_word = "undertrained" if exported.is_undertrained else "fully trained"
        out.print(f"weights {exported.weights.file} ({state_word}), card {exported.card}")
        for name, found in exported.scores.items():
            out.print(f"  {name}: held-out NRMSE {found.mean_nrmse:.1f} %, slope {found.mean_slope:.3f}")
    else:
        out.print(f"go on: lodestone train {state.identity['network']} --resume --out {options.folder}")


def _exported_document(exported: Exported) -> dict[str, Any]:
    return {
        "weights": exported.weights.file,
        "sha256": exported.weights.sha256,
        "card": exported.card,
        "undertrained": exported.is_undertrained,
        "held_out_nrmse": {name: round(found.mean_nrmse, 3) for name, found in exported.scores.items()},
    }
