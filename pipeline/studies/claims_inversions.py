"""Inversions to compare: classical methods and trained networks, each a function of one sample with known truth."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.method import StepContext
from pipeline.methods import STEPS
from pipeline.networks.inputs import Scan
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import FOLDER, is_trained, load_network
from pipeline.studies.cases import Case
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import NAME as OURS
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import LodestoneSettings, learned_map, trusted_map
from pipeline.susceptibility.dipole_inversion.learned.network_methods import NetworkSettings, network_map
from pipeline.susceptibility.dipole_inversion.learned.starts import start_maps
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import calibration_file, load_calibration
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.datasets.sample import Sample
from pipeline.training.datasets.stream import sample
from pipeline.training.plans import find_plan

SEED = 60_481
"""Names the samples on which claims are tested; no training, tuning or calibration draws from it."""
ECHO_TIME_S = 0.02
TWIN = "classical twin"
_MEMBERS = 3

OnProgress = Callable[[float], None]


@dataclass(frozen=True)
class Inversion:
    """One way to a map.

    Attributes
    ----------
    name
        What a table calls it.
    run
        Returns the susceptibility `(z, y, x)` [ppm] of a sample.
    knows_direction
        Whether it is told B0 and the voxel size; if not, it may be asked for axial slices of cubic voxels only.
    """

    name: str
    run: Callable[[Sample], Tensor]
    knows_direction: bool = True


def classical(method: str, label: str = "", **changes: Any) -> Inversion:
    """Return a classical inversion with its default settings, some of them changed.

    Parameters
    ----------
    method
        A name of the step `dipole_inversion`.
    label
        What a table calls it; the method's name where empty.
    changes
        Settings that are not at their defaults.
    """
    chosen = STEPS["dipole_inversion"][method]
    settings = chosen.settings(**changes)

    def run(drawn: Sample) -> Tensor:
        return chosen.apply(artefacts_of(drawn), context_of(drawn), settings)["susceptibility"]

    return Inversion(label or method, run)


def learned(
    network: str, folder: Path = FOLDER, refinement: str = "none", label: str = "", **changes: Any
) -> Inversion:
    """Return a network's inversion.

    Parameters
    ----------
    network
        A name of the table of networks.
    folder
        Where its weights are.
    refinement
        How its map is corrected by the field.
    label
        What a table calls it; the network's name where empty.
    changes
        Settings of the correction that are not at their defaults.

    Raises
    ------
    WeightsUnknown, WeightsMissing, WeightsAltered
        It has no trained weights.
    """
    spec, module = NETWORKS[network], load_network(network, folder=folder)
    settings = NetworkSettings(refinement=refinement, **changes)

    def run(drawn: Sample) -> Tensor:
        return network_map(spec, module, artefacts_of(drawn), context_of(drawn), settings)

    return Inversion(label or network, run, find_plan(network).knows_direction)


def classical_twin() -> Inversion:
    """Return the classical map that goes with our own network's, which it is a correction of."""
    return Inversion(TWIN, lambda drawn: start_maps(drawn, drawn.magnitude)[0])


def delivered(folder: Path = FOLDER) -> list[Inversion]:
    """Return our own network as the product applies it: its ensemble, correction and gates; none without weights.

    Where the weights were not calibrated yet there are no gates, and the name says so.

    Parameters
    ----------
    folder
        Where its weights and their calibration are.

    Raises
    ------
    WeightsAltered
        The calibration belongs to other weights.
    """
    if not is_trained(OURS, folder):
        return []
    spec, module, settings = NETWORKS[OURS], load_network(OURS, folder=folder), LodestoneSettings()
    if not calibration_file(OURS, folder).is_file():

        def ungated(drawn: Sample) -> Tensor:
            scan = Scan(drawn.local_field, drawn.mask, drawn.grid, drawn.field_noise)
            starts = start_maps(scan, drawn.magnitude)
            return learned_map(spec, module, scan, starts, _MEMBERS, settings).susceptibility

        return [Inversion(f"{OURS}, delivered without gates", ungated)]
    calibration = load_calibration(OURS, folder)

    def trusted(drawn: Sample) -> Tensor:
        made = trusted_map(spec, module, calibration, artefacts_of(drawn), context_of(drawn), settings)
        return made["susceptibility"]

    return [Inversion(f"{OURS}, delivered", trusted)]


def all_learned(networks: Iterable[str], folder: Path = FOLDER, refinement: str = "none") -> list[Inversion]:
    """Return the inversions of those networks that have weights in a folder."""
    return [learned(name, folder, refinement) for name in networks if is_trained(name, folder)]


def notes_on_missing(networks: Iterable[str], folder: Path = FOLDER) -> tuple[str, ...]:
    """Return a sentence that names the networks without weights, or none."""
    missing = [name for name in networks if not is_trained(name, folder)]
    if not missing:
        return ()
    return (f"No trained weights of {', '.join(missing)}: not judged. Train one: lodestone train NETWORK --export",)


def artefacts_of(drawn: Sample) -> Mapping[str, Tensor]:
    """Return what an inversion is given of a sample."""
    return {
        "local_field": drawn.local_field,
        "mask": drawn.mask,
        "field_noise": drawn.field_noise,
        "magnitude": drawn.magnitude[None],
    }


def context_of(drawn: Sample) -> StepContext:
    """Return what an inversion may know of a sample beside its arrays."""
    return StepContext(drawn.grid, echo_times_s=(ECHO_TIME_S,))


def without_faults(recipe: DataRecipe, size: int) -> DataRecipe:
    """Return a recipe of cubes whose fields hold noise, but no left-over background, wrong mask or outliers."""
    clean = replace(recipe, residual_background_share=0.0, mask_error_share=0.0, outlier_share=0.0)
    return replace(clean, shape=(size, size, size))


def held_out_samples(recipe: DataRecipe, count: int, seed: int = SEED) -> list[Sample]:
    """Return samples of the generators that no network trains on; the same for the same arguments."""
    return [sample(recipe.held_out(), seed, index) for index in range(count)]


def sample_of_case(case: Case) -> Sample:
    """Return a scan of a simulated head as a sample: the true local field of all tissue with the least noise."""
    given = case.artefacts_for("dipole_inversion")
    truth = case.scan.susceptibility * case.mask
    return Sample(
        susceptibility=(truth - truth[case.mask].mean()) * case.mask,
        local_field=given["local_field"],
        mask=case.mask,
        field_noise=given["field_noise"],
        magnitude=given["magnitude"][-1],
        grid=case.grid,
        generator=case.family,
    )


def maps_of(
    inversions: Sequence[Inversion], drawn: Sequence[Sample], on_progress: OnProgress | None = None
) -> dict[str, list[Tensor]]:
    """Return every inversion's map of every sample, by the inversion's name."""
    maps: dict[str, list[Tensor]] = {inversion.name: [] for inversion in inversions}
    total = max(1, len(inversions) * len(drawn))
    for number, (one, inversion) in enumerate((one, inversion) for one in drawn for inversion in inversions):
        maps[inversion.name].append(inversion.run(one))
        if on_progress is not None:
            on_progress((number + 1) / total)
    return maps


def part_of(on_progress: OnProgress | None, first: float, last: float) -> OnProgress | None:
    """Return a listener to a part of the work, between two shares of the whole."""
    if on_progress is None:
        return None
    return lambda share: on_progress(first + (last - first) * share)
