"""Example maps for the eye: one plane of the truth, of a classical map at its tuned weight, and of networks' maps."""

from dataclasses import dataclass

from torch import Tensor

from pipeline.training.evaluation import Wanted, default_map
from pipeline.training.evaluation_trials import Plan, Trial, make_trial
from pipeline.training.evaluation_tuning import classical_map, tuned_multiple


@dataclass(frozen=True)
class ExampleMaps:
    """One plane of a trial: the truth, and every method's map, each `(y, x)` [ppm] less its mean in the mask."""

    title: str
    truth: Tensor
    maps: dict[str, Tensor]


def example_maps(wanted: Wanted, plan: Plan, classical: tuple[str, ...], networks: tuple[str, ...]) -> ExampleMaps:
    """Return the plane of a trial in which the truth varies most.

    Parameters
    ----------
    wanted
        Names the weights' folder.
    plan
        Which trial.
    classical, networks
        Whose maps.
    """
    trial = make_trial(plan)
    plane = int((trial.susceptibility.square() * trial.mask).sum((1, 2)).argmax())
    maps = {}
    for name in classical:
        multiple = tuned_multiple(plan.generator, name)
        maps[f"{name} × {multiple:.3g}"] = classical_map(trial, name, multiple)
    for name in networks:
        maps[name] = default_map(trial, name, wanted.weights_folder)
    return ExampleMaps(
        plan.name,
        _plane(trial, trial.susceptibility, plane),
        {name: _plane(trial, found, plane) for name, found in maps.items()},
    )


def _plane(trial: Trial, values: Tensor, plane: int) -> Tensor:
    centred = values - values[trial.mask].mean()
    return (centred * trial.mask)[plane]
