"""What an evaluation is made on: held-out samples and heads, and what varies of them one factor at a time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from pipeline.errors import InvalidRecipe
from pipeline.grid import Grid
from pipeline.method import StepContext
from pipeline.simulation.families import FAMILIES
from pipeline.simulation.scanner import Protocol
from pipeline.studies.accuracy import LESIONS
from pipeline.studies.cases import ECHO_TIMES_S, REPORTING_SEEDS, TUNING_SEEDS, Case, make_case
from pipeline.training.datasets.recipe import HELD_OUT, DataRecipe
from pipeline.training.datasets.stream import sample

COMPOSITE = HELD_OUT[0]
GENERATORS = (COMPOSITE, *FAMILIES)
"""What no network trains on: the held-out generator of patches, and heads of every family of the simulated scanner."""

STREAMS = {"report": 90_210, "tuning": 41_510}
"""Seeds of the patches: those that are reported, and those on which settings may be chosen."""
HEAD_SEEDS = {"report": REPORTING_SEEDS, "tuning": TUNING_SEEDS}

_ECHO_TIME_OF_PATCHES_S = 0.020
_CUBES = Protocol((72, 90, 72), (2.2, 2.2, 2.2), ECHO_TIMES_S, finest_mm=1.1)
_SLICES = Protocol((44, 110, 90), (3.6, 1.8, 1.8), ECHO_TIMES_S, finest_mm=0.9)
_COARSE = Protocol((50, 66, 54), (3.0, 3.0, 3.0), ECHO_TIMES_S, finest_mm=1.5)
HEAD_SCANS: dict[str, Protocol] = {
    "axial, 2.2 mm, SNR 100": replace(_CUBES, snr=100.0),
    "25° oblique, 2.2 mm, SNR 40": replace(_CUBES, snr=40.0, rotation_deg=(25.0, 0.0, 0.0)),
    "axial, 1.8 × 1.8 × 3.6 mm, SNR 60": replace(_SLICES, snr=60.0),
    "25° oblique, 1.8 × 1.8 × 3.6 mm, SNR 20": replace(_SLICES, snr=20.0, rotation_deg=(0.0, 25.0, 0.0)),
}
"""How the heads of a family are scanned, in the order of their seeds."""
QUICK_SCANS: dict[str, Protocol] = {
    "25° oblique, 3 mm, SNR 50": replace(_COARSE, snr=50.0, rotation_deg=(25.0, 0.0, 0.0))
}

_REGIONS, _LEAST_RADIUS, _MOST_RADIUS = 16, 3.0, 8.0


@dataclass(frozen=True)
class Trial:
    """One field whose susceptibility is known; a network and a classical method are given the same of it.

    Attributes
    ----------
    local_field, field_noise
        Field in the mask with noise, and its standard deviation `(z, y, x)` [ppm].
    mask
        Bool, same shape.
    susceptibility
        The truth [ppm], same shape.
    magnitude
        Images `(echo, z, y, x)`.
    grid, echo_times_s
        Where and when it was measured.
    labels, label_names
        Regions whose means are compared.
    r2star
        [1/s], same shape; None where nothing is known of it.
    """

    local_field: Tensor
    field_noise: Tensor
    mask: Tensor
    susceptibility: Tensor
    magnitude: Tensor
    grid: Grid
    labels: Tensor
    label_names: Mapping[int, str]
    echo_times_s: tuple[float, ...] = (_ECHO_TIME_OF_PATCHES_S,)
    r2star: Tensor | None = None

    @property
    def context(self) -> StepContext:
        """What a method may know beside the arrays."""
        return StepContext(self.grid, self.echo_times_s, 3.0)

    @property
    def artefacts(self) -> dict[str, Tensor]:
        """What an inversion is given."""
        given = {
            "local_field": self.local_field,
            "field_noise": self.field_noise,
            "mask": self.mask,
            "magnitude": self.magnitude,
        }
        return given if self.r2star is None else given | {"r2star": self.r2star}


@dataclass(frozen=True)
class Plan:
    """Which trial: enough to make it anywhere, in any order.

    Attributes
    ----------
    generator
        One of `GENERATORS`.
    stream
        "report" or "tuning".
    index
        Number of the patch, or of the head among its family's seeds.
    scan
        How a head is scanned, a word of `HEAD_SCANS` or `QUICK_SCANS`; empty for patches.
    """

    generator: str
    stream: str
    index: int
    scan: str = ""

    @property
    def name(self) -> str:
        """Return how the trial is called in a table."""
        return f"{self.generator} {self.index}" + (f", {self.scan}" if self.scan else "")


@dataclass(frozen=True)
class Amount:
    """How much is evaluated.

    Attributes
    ----------
    patches
        Of the held-out generator, with all faults of a measurement.
    scans
        Of heads of every family; each is of another head.
    axis_patches, axis_heads
        Samples and families on which one factor at a time is varied.
    slow_every
        Of slow networks, only every n-th sample is computed, and one patch where one factor at a time is varied.
    """

    patches: int = 20
    scans: Mapping[str, Protocol] = field(default_factory=lambda: HEAD_SCANS)
    axis_patches: int = 4
    axis_heads: int = 2
    slow_every: int = 3


FULL = Amount()
QUICK = Amount(patches=4, scans=QUICK_SCANS, axis_patches=1, axis_heads=0, slow_every=4)


def plans(amount: Amount, stream: str) -> list[Plan]:
    """Return the trials of the comparison of methods, generator by generator.

    Raises
    ------
    InvalidRecipe
        The stream is neither "report" nor "tuning".
    """
    if stream not in STREAMS:
        raise InvalidRecipe(f"The seeds are {' or '.join(STREAMS)}, not '{stream}'.")
    patches = [Plan(COMPOSITE, stream, index) for index in range(amount.patches)]
    heads = [Plan(family, stream, index, scan) for family in FAMILIES for index, scan in enumerate(amount.scans)]
    return patches + heads


def make_trial(plan: Plan) -> Trial:
    """Make a trial; the same for the same plan."""
    if plan.generator == COMPOSITE:
        return patch_trial(plan)
    protocol = {**HEAD_SCANS, **QUICK_SCANS}[plan.scan]
    seed = HEAD_SEEDS[plan.stream][plan.index]
    return trial_of_case(make_case(plan.generator, seed, plan.scan, protocol))


def patch_trial(plan: Plan) -> Trial:
    """Make a patch of the held-out generator with the noise and the faults that trainings draw."""
    drawn = sample(DataRecipe().held_out(), STREAMS[plan.stream], plan.index)
    labels, names = random_regions(drawn.mask, plan.index)
    return Trial(
        drawn.local_field,
        drawn.field_noise,
        drawn.mask,
        drawn.susceptibility,
        drawn.magnitude[None],
        drawn.grid,
        labels,
        names,
    )


def trial_of_case(case: Case) -> Trial:
    """Return what an inversion is given of a simulated scan, with its nuclei as regions."""
    given = case.artefacts_for("dipole_inversion")
    return Trial(
        local_field=given["local_field"],
        field_noise=given["field_noise"],
        mask=case.mask,
        susceptibility=case.scan.susceptibility,
        magnitude=given["magnitude"],
        grid=case.grid,
        labels=case.scan.labels,
        label_names={label: name for label, name in case.scan.label_names.items() if name not in LESIONS},
        echo_times_s=case.protocol.echo_times_s,
        r2star=given.get("r2star"),
    )


def random_regions(mask: Tensor, seed: int) -> tuple[Tensor, dict[int, str]]:
    """Return numbered ellipsoids at random places of a mask, and their names: regions that no edge of the truth drew.

    Parameters
    ----------
    mask
        Bool `(z, y, x)`, not empty.
    seed
        Decides places and sizes.
    """
    chance = torch.Generator().manual_seed(seed)
    places = mask.cpu().nonzero()
    labels = torch.zeros(mask.shape, dtype=torch.int32)
    axes = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) for size in mask.shape), indexing="ij")
    for label in range(1, _REGIONS + 1):
        centre = places[int(torch.randint(len(places), (), generator=chance))]
        radii = _LEAST_RADIUS + (_MOST_RADIUS - _LEAST_RADIUS) * torch.rand(3, generator=chance)
        away = sum(
            ((axis - middle) / radius).square() for axis, middle, radius in zip(axes, centre, radii, strict=True)
        )
        labels[away <= 1] = label
    return labels.masked_fill(~mask.cpu(), 0), {label: f"region {label}" for label in range(1, _REGIONS + 1)}
