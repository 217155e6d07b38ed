"""`lodestone evaluate variational_network`: networks that reconstruct k-space, beside conventional reconstructions."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from pipeline.networks.weights import load_network
from pipeline.reconstruction.learned_cascade import RECONNET3D, reconnet3d
from pipeline.reconstruction.learned_variational import VARIATIONAL_NETWORK, variational_network
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.super_resolution import NAME as SUPER_RESOLUTION
from pipeline.reconstruction.table import RECONSTRUCTIONS
from pipeline.studies.reconstruction_tables import reconstruction_tables
from pipeline.studies.reconstruction_trials import FULL, QUICK, Amount, reconstruction_trials
from pipeline.studies.super_resolution_study import super_resolution_tables
from pipeline.studies.table import EvaluationTable
from pipeline.training.datasets.kspace_heads import HELD_OUT_FAMILIES

LEARNED = {
    VARIATIONAL_NETWORK.name: (VARIATIONAL_NETWORK, variational_network),
    RECONNET3D.name: (RECONNET3D, reconnet3d),
}
CONVENTIONAL = ("cg_sense", "l1_wavelet")
"""What networks are measured against: the one without assumptions about images, and the strongest with one."""

OnPiece = Callable[[str], None]


def evaluated_reconstructions(
    networks: Sequence[str], weights: Path, is_quick: bool, on_piece: OnPiece
) -> list[EvaluationTable]:
    """Return the tables of accelerated scans of a family of heads that no network was trained on.

    Parameters
    ----------
    networks
        Names of the table of reconstruction networks.
    weights
        The folder of their weights.
    is_quick
        Few heads of large voxels.
    on_piece
        Told the name of every piece of work that is done.

    Raises
    ------
    WeightsUnknown, WeightsMissing, WeightsAltered
        A network is not trained.
    """
    amount = QUICK if is_quick else FULL
    loaded = {name: load_network(name, folder=weights) for name in networks}
    names = [name for name in networks if name in LEARNED]
    tables: list[EvaluationTable] = []
    for family in HELD_OUT_FAMILIES:
        if names:
            learned = [_with(name, loaded[name]) for name in names]
            methods = [RECONSTRUCTIONS[name] for name in CONVENTIONAL] + learned
            found = list(reconstruction_trials(family, amount, methods, on_piece))
            tables += reconstruction_tables(found, names)
        if SUPER_RESOLUTION in networks:
            tables += super_resolution_tables(family, amount, loaded[SUPER_RESOLUTION], on_piece)
    return tables


def _with(name: str, network: nn.Module) -> Reconstruction:
    """Return a learned method with a network of another folder than the package's own."""
    row, run = LEARNED[name]
    return replace(row, run=partial(run, network=network))


def n_pieces(networks: Sequence[str], is_quick: bool) -> int:
    """Return how many pieces of work an evaluation has."""
    amount: Amount = QUICK if is_quick else FULL
    n_learned = sum(name in LEARNED for name in networks)
    of_scans = 1 + len(amount.accelerations) * (len(CONVENTIONAL) + n_learned) if n_learned else 0
    return len(HELD_OUT_FAMILIES) * len(amount.seeds) * (of_scans + (SUPER_RESOLUTION in networks))


def write_tables(folder: Path, tables: Sequence[EvaluationTable]) -> None:
    """Write tables as text and as comma-separated values."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tables.txt").write_text("\n".join(table.text() for table in tables), encoding="utf-8")
    for number, table in enumerate(tables, 1):
        slug = re.sub(r"[^a-z0-9]+", "-", table.title.split(":")[0].lower()).strip("-")[:60]
        (folder / f"{number:02d}-{slug}.csv").write_text(table.csv(), encoding="utf-8")
