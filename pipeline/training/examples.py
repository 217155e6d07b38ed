"""Training examples in a fixed order: samples with their start maps, made by processes, shown several times, turned."""

import itertools
import math
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from signal import SIG_IGN, SIGINT, SIGTERM, signal
from types import TracebackType

import torch
from torch import Tensor

from pipeline.grid import Grid
from pipeline.susceptibility.dipole_inversion.learned.starts import StartSettings, start_maps
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.sample import Sample
from pipeline.training.datasets.stream import sample

_FIRST_WINDOW = 8
_AHEAD_PER_WORKER = 3
_START_VARIATION = 1.5
_TENSORS = ("susceptibility", "local_field", "mask", "field_noise", "magnitude")


@dataclass(frozen=True)
class Example:
    """A sample, and the maps that a network refines where it needs any `(map, z, y, x)` [ppm]."""

    sample: Sample
    start: Tensor | None = None


@dataclass(frozen=True)
class ExampleOrder:
    """Which example is shown when; a pure function, so that a stopped training goes on with the next one.

    Of the newest `window` samples one is drawn at random for every showing; a new sample comes every `reuse` showings.

    Attributes
    ----------
    recipe, seed
        The stream of samples.
    needs_start
        Whether start maps are made for each.
    window, reuse
        Samples held at once, and showings of each on average.
    may_turn
        Whether the first axis may become another one.
    amplitude
        Largest factor by which a sample is multiplied.
    """

    recipe: DataRecipe
    seed: int
    needs_start: bool = False
    window: int = 16
    reuse: int = 2
    may_turn: bool = True
    amplitude: float = 1.0

    def newest(self, showing: int) -> int:
        """Return the highest index of the stream that this showing may use."""
        return min(_FIRST_WINDOW, self.window) - 1 + showing // self.reuse

    def oldest(self, showing: int) -> int:
        """Return the lowest index of the stream that this or a later showing may use."""
        return max(0, self.newest(showing) - self.window + 1)

    def index(self, showing: int) -> int:
        """Return which sample of the stream is shown."""
        return self._chance("choice", showing).integer(self.oldest(showing), self.newest(showing))

    def turned(self, example: Example, showing: int) -> Example:
        """Return the example mirrored, turned onto other axes, negated and scaled, as this showing wants it."""
        chance = self._chance("turn", showing)
        flipped = tuple(axis for axis in range(3) if chance.happens(0.5))
        orders = [order for order in itertools.permutations(range(3)) if self.may_turn or order[0] == 0]
        order = chance.choice(orders)
        factor = -1.0 if chance.happens(0.5) else 1.0
        if self.amplitude > 1:
            factor *= math.exp(chance.uniform(-1.0, 1.0) * math.log(self.amplitude))
        return turned_example(example, order, flipped, factor)

    def _chance(self, purpose: str, showing: int) -> Chance:
        return Chance(f"{purpose}/{self.seed}/{showing}", torch.device("cpu"))


def turned_example(example: Example, order: tuple[int, ...], flipped: tuple[int, ...], factor: float = 1.0) -> Example:
    """Return an example whose physics is the same on a turned and mirrored grid, with all sources times a factor.

    Parameters
    ----------
    example
        A cube.
    order
        Which old axis becomes each new one.
    flipped
        New axes that are mirrored; B0 is mirrored with them.
    factor
        Multiplies susceptibility, field, noise and start map.
    """
    drawn = example.sample

    def turn(volume: Tensor, times: float = 1.0) -> Tensor:
        first = volume.ndim - 3
        axes = (*range(first), *(first + axis for axis in order))
        turned = volume.permute(axes).flip(tuple(first + axis for axis in flipped))
        return turned if times == 1.0 else turned * times

    grid = drawn.grid
    voxel = [grid.voxel_size_mm[axis] for axis in order]
    shape = [grid.shape[axis] for axis in order]
    b0 = [-grid.b0_direction[axis] if new in flipped else grid.b0_direction[axis] for new, axis in enumerate(order)]
    turned = replace(
        drawn,
        susceptibility=turn(drawn.susceptibility, factor),
        local_field=turn(drawn.local_field, factor),
        mask=turn(drawn.mask),
        field_noise=turn(drawn.field_noise, abs(factor)),
        magnitude=turn(drawn.magnitude),
        grid=Grid((shape[0], shape[1], shape[2]), (voxel[0], voxel[1], voxel[2]), (b0[0], b0[1], b0[2])),
    )
    return Example(turned, None if example.start is None else turn(example.start, factor))


def made_example(
    recipe: DataRecipe, seed: int, index: int, needs_start: bool, device: str | torch.device = "cpu"
) -> Example:
    """Make a sample, and where wanted its start maps.

    In training the inversion's regularisation varies by up to a factor of 1.5, so that a network learns to mend maps
    that are too smooth as well as too rough; in validation it is the default.
    """
    drawn = sample(recipe, seed, index, device)
    if not needs_start:
        return Example(drawn)
    settings = StartSettings()
    if recipe.purpose == "training":
        chance = Chance(f"start/{seed}/{index}", torch.device("cpu"))
        varied = settings.regularisation * chance.log_uniform(1 / _START_VARIATION, _START_VARIATION)
        settings = replace(settings, regularisation=varied)
    return Example(drawn, start_maps(drawn, drawn.magnitude, settings=settings))


class ExampleStream:
    """Hands examples out in their order; makes them here, or ahead of time in worker processes."""

    def __init__(self, order: ExampleOrder, n_workers: int, device: torch.device) -> None:
        """Start the workers.

        Parameters
        ----------
        order
            Which examples.
        n_workers
            Processes of one thread each, on the CPU; 0 makes examples in this process on `device`.
        device
            Where the examples are wanted.
        """
        self._order, self._device = order, device
        self._held: dict[int, Example] = {}
        self._coming: dict[int, Future[tuple[dict[str, object], Grid, str]]] = {}
        self._n_ahead = _AHEAD_PER_WORKER * n_workers
        self._workers: ProcessPoolExecutor | None = None
        if n_workers:
            # Spawned, not forked: a forked child inherits locks of torch's threads.
            self._workers = ProcessPoolExecutor(n_workers, get_context("spawn"), initializer=_begin_worker)

    def __enter__(self) -> "ExampleStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)

    def shown(self, showing: int) -> Example:
        """Return the example of one showing, on the wanted device."""
        oldest, newest = self._order.oldest(showing), self._order.newest(showing)
        for index in [index for index in self._held if index < oldest]:
            del self._held[index]
        if self._workers is not None:
            self._order_ahead(self._workers, oldest, newest)
        index = self._order.index(showing)
        if index not in self._held:
            self._held[index] = self._made(index)
        return self._order.turned(self._held[index], showing)

    def _order_ahead(self, workers: ProcessPoolExecutor, oldest: int, newest: int) -> None:
        order = self._order
        for index in [index for index in self._coming if index < oldest]:
            self._coming.pop(index).cancel()
        for index in range(oldest, newest + 1 + self._n_ahead):
            if index not in self._held and index not in self._coming:
                self._coming[index] = workers.submit(_packed, order.recipe, order.seed, index, order.needs_start)

    def _made(self, index: int) -> Example:
        if self._workers is None:
            with _one_thread():
                return made_example(self._order.recipe, self._order.seed, index, self._order.needs_start, self._device)
        arrays, grid, generator = self._coming.pop(index).result()
        tensors = {name: torch.from_numpy(array).to(self._device) for name, array in arrays.items()}
        drawn = Sample(**{name: tensors[name] for name in _TENSORS}, grid=grid, generator=generator)
        return Example(drawn, tensors.get("start"))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute with one thread, as workers do: sums over several threads end in other last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _begin_worker(end: Callable[[int], None] = os._exit) -> None:
    """Prepare a worker: one thread, deaf to Ctrl-C, which its parent answers, and gone when its parent is."""
    signal(SIGINT, SIG_IGN)
    signal(SIGTERM, SIG_IGN)
    torch.set_num_threads(1)
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            end(1)

    threading.Thread(target=follow, daemon=True).start()


def _packed(recipe: DataRecipe, seed: int, index: int, needs_start: bool) -> tuple[dict[str, object], Grid, str]:
    """Make an example in a worker; arrays travel through a pipe, which needs no shared memory."""
    example = made_example(recipe, seed, index, needs_start)
    arrays: dict[str, object] = {name: getattr(example.sample, name).numpy() for name in _TENSORS}
    if example.start is not None:
        arrays["start"] = example.start.numpy()
    return arrays, example.sample.grid, example.sample.generator
