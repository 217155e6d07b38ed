"""FINE: a copy of a trained network is trained on, at one scan, until its map explains the measured field."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.errors import NotConverged
from pipeline.method import OnIteration, setting
from pipeline.networks.inputs import Context, FieldScan
from pipeline.networks.table import NetworkSpec
from pipeline.susceptibility.dipole_inversion.learned.apply import ComputingSettings, chosen_tiles, products_in
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.tiles import Tile, computed_in_tiles


@dataclass(frozen=True)
class FineSettings:
    """Settings of FINE."""

    iterations: int = setting(50, "1", "training steps at most", minimum=1, maximum=100000)
    rate: float = setting(1e-4, "1", "learning rate of Adam", minimum=1e-8, maximum=0.1)
    noise_level: float = setting(
        1.0, "1", "stop where the residual is this multiple of the noise", minimum=0.1, maximum=10.0
    )
    margin: int = setting(16, "voxel", "least padding around the mask", minimum=4, maximum=128)


def fine(
    spec: NetworkSpec,
    network: nn.Module,
    scan: FieldScan,
    settings: FineSettings,
    start: Tensor | None = None,
    computing: ComputingSettings | None = None,
    on_iteration: OnIteration | None = None,
) -> Tensor:
    """Minimise ‖W(D χ(θ) − f)‖² over the weights θ of a copy of a network, from its trained weights.

    The map of least misfit is returned, the first one included. Training stops where the residual is at the noise.
    Means and variances of normalisations stay as trained. Where tiles are needed, the slope by the map is found for
    the whole volume and carried back through one tile after another: the same slope by the weights.

    Parameters
    ----------
    spec
        What the network is.
    network
        Its trained module; not changed.
    scan
        Local field, mask, grid and field noise; where the noise is None, 2 ppb are assumed.
    settings
        Steps, rate and stopping rule.
    start
        Maps by other methods `(map, z, y, x)` [ppm], for networks that refine them.
    computing
        Tiles and precision; the defaults where None.
    on_iteration
        Told the fraction done.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm].

    Raises
    ------
    UnusableInput
        As `apply_network`.
    NotConverged
        The misfit is not finite: the rate is too high.

    Source: Zhang 2020, doi:10.1016/j.neuroimage.2020.116579.
    """
    computing = ComputingSettings() if computing is None else computing
    term = DataTerm.of(scan.local_field, scan.mask, scan.grid, scan.field_noise, margin=settings.margin)
    channels, context = spec.prepare(scan, start)
    tuned = copy.deepcopy(network).eval().requires_grad_(True)
    tiles = chosen_tiles(spec, tuned, channels, computing)
    passes = _Passes(spec, tuned, channels, context, tiles, computing.precision)
    optimiser = torch.optim.Adam(tuned.parameters(), lr=settings.rate)
    best, least = None, math.inf
    for number in range(settings.iterations + 1):
        susceptibility, output = passes.forward()
        residual = term.residual(term.framed(susceptibility.detach()))
        ratio = term.ratio(residual)
        if not math.isfinite(ratio):
            raise NotConverged("FINE diverged; choose a lower rate, and check the field and its noise.")
        if ratio < least:
            best, least = susceptibility.detach().clone(), ratio
        if on_iteration is not None:
            on_iteration(min((number + 1) / (settings.iterations + 1), 1.0))
        if ratio <= settings.noise_level or number == settings.iterations:
            break
        optimiser.zero_grad()
        susceptibility.backward(term.restored(term.slope(residual)) / term.expected**2)
        passes.backward(output)
        optimiser.step()
    if on_iteration is not None:
        on_iteration(1.0)
    assert best is not None
    return best


@dataclass
class _Passes:
    """The network forward to a map, and back from a slope by its output to slopes by its weights."""

    spec: NetworkSpec
    network: nn.Module
    channels: Tensor
    context: Context
    tiles: Sequence[Tile]
    precision: str
    _graph: Tensor | None = None

    def forward(self) -> tuple[Tensor, Tensor]:
        """Return the map, and the output as a leaf whose gradient `backward` wants."""
        if len(self.tiles) == 1:
            self._graph = self._run(self.channels)
            output = self._graph.detach().requires_grad_(True)
        else:
            with torch.no_grad():
                output = computed_in_tiles(self._run, self.channels, self.tiles)
            output.requires_grad_(True)
        with torch.enable_grad():
            return self.spec.finish(output, self.context), output

    def backward(self, output: Tensor) -> None:
        """Add to the slopes by the weights."""
        assert output.grad is not None
        if self._graph is not None:
            self._graph.backward(output.grad)
            self._graph = None
            return
        for tile in self.tiles:
            with torch.enable_grad():
                part = self._run(self.channels[(slice(None), *tile.read)])[(slice(None), *tile.keep)]
            part.backward(output.grad[(slice(None), *tile.write)].to(part.dtype))

    def _run(self, part: Tensor) -> Tensor:
        # Gradients are on here unless the caller turned them off.
        with products_in(self.precision, part.device):
            return self.spec.run(self.network, part[None], [self.context])[0]
