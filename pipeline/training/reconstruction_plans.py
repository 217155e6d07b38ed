"""How each reconstruction network is trained: its examples, rate, schedule, and what a full training would be."""

from dataclasses import dataclass

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.training.datasets.kspace_slabs import (
    MakeExample,
    fine_example,
    parallel_imaging_example,
    single_coil_example,
)
from pipeline.training.schedules import Schedule, cosine


@dataclass(frozen=True)
class ReconstructionPlan:
    """How one network is trained.

    Attributes
    ----------
    example
        Makes one example from a head.
    rate, schedule
        The first learning rate and what becomes of it.
    batch
        Examples per step.
    patch
        Thickness of a slab along the readout, or edge of a cube [voxel].
    visits
        Examples that a full training shows the network.
    source
        Whose plan it is, and what of it is ours.
    steps_per_head
        A new head comes every so many steps.
    n_heads
        Heads that are held at once.
    unrolled
        Until which share of a training how many iterations are done; afterwards all.
    """

    example: MakeExample
    rate: float
    visits: int
    source: str
    schedule: Schedule = cosine
    batch: int = 1
    patch: int = 8
    steps_per_head: int = 150
    n_heads: int = 24
    unrolled: tuple[tuple[float, int], ...] = ()

    def shortening(self, progress: float) -> dict[str, int]:
        """Return what `iterates` is told beside its inputs when this share of the training is done."""
        wanted = [count for until, count in self.unrolled if progress < until]
        return {"n_iterations": wanted[0]} if wanted else {}


_LOSS = "L1 + root mean square + 0.5 L1 across the truth + 2 L1 of blocks"
RECONSTRUCTION_PLANS: dict[str, ReconstructionPlan] = {
    "variational_network": ReconstructionPlan(
        parallel_imaging_example,
        rate=1e-3,
        visits=20_000,
        source=f"L1 and Adam as in the 3D-EPI study; cosine from 1e-3, {_LOSS}, Poisson disks of AF 2 to 6 are ours",
        unrolled=((0.3, 2),),
    ),
    "reconnet3d": ReconstructionPlan(
        single_coil_example,
        rate=1e-3,
        visits=50_000,
        source=f"loss, rate and schedule are ours, the paper tells none: {_LOSS} of all blocks, Adam 1e-3, cosine",
    ),
    "super_resolution": ReconstructionPlan(
        fine_example,
        rate=1e-3,
        visits=20_000,
        source=f"ours: {_LOSS}, Adam 1e-3, cosine",
        patch=48,
    ),
}


def find_reconstruction_plan(network: str) -> ReconstructionPlan:
    """Return the plan of a reconstruction network.

    Raises
    ------
    UnknownMethod
        There is no such network; the sentence names the nearest.
    """
    if network not in RECONSTRUCTION_PLANS or network not in RECONSTRUCTION_NETWORKS:
        raise UnknownMethod(f"There is no reconstruction network '{network}'; {nearest(network, RECONSTRUCTION_PLANS)}")
    return RECONSTRUCTION_PLANS[network]
