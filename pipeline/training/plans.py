"""What each network's paper says of its training: loss, optimiser, schedule, batch, patch and data; a literal table."""

from dataclasses import dataclass, replace

from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.networks.table import NETWORKS
from pipeline.training.datasets.recipe import DataRecipe
from pipeline.training.schedules import Schedule, constant, cosine, drops_at, drops_every

XQSM_VISITS = 750_000
"""Patches shown in xQSM's paper, 50 epochs of 15 000: the yardstick where no count of a network's own is known."""

AXIAL = DataRecipe(tilt_max_deg=0.0, axial_share=1.0, aspect_max=1.0)
"""For networks that are told neither B0 nor voxel size: B0 along the first axis, cubic voxels."""
ANY = DataRecipe()


@dataclass(frozen=True)
class TrainingPlan:
    """How one network is trained unless a person says otherwise.

    Attributes
    ----------
    loss
        A name of the table of losses.
    optimiser
        "adam" or "rmsprop".
    rate
        First learning rate.
    schedule
        Its factor from the share of the training that is done and from the step.
    batch, patch
        Samples per step, and their edge [voxels].
    recipe
        The distribution of the samples; its shape is set by the patch.
    visits
        Patches that a full training shows the network.
    source
        Whose plan it is, and what of it is ours.
    plateau_patience
        Validations without gain after which the rate is halved; 0 for never.
    weight_decay
        Of the optimiser.
    amplitude
        Samples are multiplied by up to this factor or its inverse.
    window, reuse
        How many samples are held at once, and how often each is shown, turned and mirrored, before a new one comes.
    """

    loss: str
    optimiser: str
    rate: float
    schedule: Schedule
    batch: int
    patch: int
    recipe: DataRecipe
    visits: int
    source: str
    plateau_patience: int = 0
    weight_decay: float = 0.0
    amplitude: float = 1.0
    window: int = 16
    reuse: int = 2

    @property
    def knows_direction(self) -> bool:
        """Tell whether the network is told the direction of B0, so that samples may be turned onto other axes."""
        return self.recipe.tilt_max_deg > 0


_COUNT = f"no count of patches known to us: {XQSM_VISITS} as for xQSM"

_LODESTONE = TrainingPlan(
    loss="ours",
    optimiser="adam",
    rate=1e-3,
    schedule=cosine,
    batch=2,
    patch=48,
    recipe=ANY,
    visits=100_000,
    source=(
        "this project: Adam 1e-3 with a cosine; L1 + 0.5 root mean square + 0.3 gradient L1 + 0.1 field L1 after "
        "removal of the mean"
    ),
    window=64,
    reuse=12,
)
_DEEPQSM = TrainingPlan(
    loss="squared",
    optimiser="adam",
    rate=1e-3,
    schedule=cosine,
    batch=8,
    patch=48,
    recipe=replace(AXIAL, generators=(("shapes", 1.0),), mixed_share=0.0),
    visits=XQSM_VISITS,
    source=f"synthetic shapes only, as in Bollmann 2019; loss, rate, batch and patch are ours; {_COUNT}",
)
_QSMNET = TrainingPlan(
    loss="qsmnet",
    optimiser="rmsprop",
    rate=1e-3,
    schedule=drops_every(600, 0.95),
    batch=12,
    patch=64,
    recipe=AXIAL,
    visits=XQSM_VISITS,
    source=f"Yoon 2018: L1 + 5 field L1 + 0.1 gradient loss, RMSprop 1e-3 × 0.95 per 600 steps; {_COUNT}",
)
_XQSM = TrainingPlan(
    loss="squared",
    optimiser="adam",
    rate=1e-3,
    schedule=drops_at((0.5, 0.8), 0.1),
    batch=24,
    patch=64,
    recipe=AXIAL,
    visits=XQSM_VISITS,
    source="Gao 2021: squared error, Adam 1e-3 × 0.1 at 50 % and 80 %, batch 24, patch 64, 50 epochs of 15 000 patches",
)
_KQSM = TrainingPlan(
    loss="squared",
    optimiser="adam",
    rate=1e-4,
    schedule=drops_every(None, 0.9, times=10),
    batch=1,
    patch=64,
    recipe=ANY,
    visits=XQSM_VISITS,
    source=(
        "He 2022: squared error, Adam 1e-4 × 0.9 per 50 of 500 epochs, batch 1; the paper's second loss is exact by "
        f"construction; {_COUNT}"
    ),
)
_LPCNN = TrainingPlan(
    loss="squared",
    optimiser="adam",
    rate=1e-4,
    schedule=drops_every(None, 0.5, times=2),
    batch=2,
    patch=64,
    recipe=ANY,
    visits=XQSM_VISITS,
    source=f"Lai 2020: Adam 1e-4 × 0.5 per 50 of 100 epochs, batch 2; squared error is our choice; {_COUNT}",
)
_MODL = TrainingPlan(
    loss="absolute",
    optimiser="adam",
    rate=1e-3,
    schedule=constant,
    batch=2,
    patch=48,
    recipe=ANY,
    visits=XQSM_VISITS,
    source=f"Feng 2021: L1, Adam 1e-3, halved after 3 validations without gain, batch 2, patch 48; {_COUNT}",
    plateau_patience=3,
    weight_decay=5e-4,
)
_UNET_DF = TrainingPlan(
    loss="squared",
    optimiser="adam",
    rate=5e-4,
    schedule=drops_at((0.5, 0.75), 0.1),
    batch=16,
    patch=64,
    recipe=AXIAL,
    visits=XQSM_VISITS,
    source=f"Paluru 2025: squared error, Adam 5e-4 × 0.1 at 50 % and 75 %, batch 16, patch 64; {_COUNT}",
)

PLANS: dict[str, TrainingPlan] = {
    "lodestone_net": _LODESTONE,
    "deepqsm": _DEEPQSM,
    "qsmnet": _QSMNET,
    "qsmnet_plus": replace(_QSMNET, amplitude=4.0, source=f"{_QSMNET.source}; amplitudes × 1/4 to 4 after Jung 2020"),
    "qsmnet_narrow": _QSMNET,
    "qsmnet_plus_narrow": replace(
        _QSMNET, amplitude=4.0, source=f"{_QSMNET.source}; amplitudes × 1/4 to 4 after Jung 2020"
    ),
    "xqsm": _XQSM,
    "xqsm_cropped": replace(_XQSM, recipe=replace(AXIAL, mode="cropped"), source=f"{_XQSM.source}; cropped patches"),
    "kqsm": _KQSM,
    "kqsm_02": _KQSM,
    "lpcnn": _LPCNN,
    "modl_qsm": _MODL,
    "unet_df": _UNET_DF,
}


def find_plan(network: str) -> TrainingPlan:
    """Return the plan of a network.

    Raises
    ------
    UnknownMethod
        There is no such network; the sentence names the nearest.
    """
    if network not in PLANS or network not in NETWORKS:
        raise UnknownMethod(f"There is no network '{network}'; {nearest(network, PLANS)}")
    return PLANS[network]
