"""The papers' networks as methods of dipole inversion: the map, and a correction by the field."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from pipeline.method import Method, OnIteration, StepContext, setting
from pipeline.networks.inputs import Scan
from pipeline.networks.table import NETWORKS, NetworkSpec
from pipeline.networks.weights import load_network
from pipeline.susceptibility.dipole_inversion.learned.apply import ComputingSettings, apply_network
from pipeline.susceptibility.dipole_inversion.learned.fine import FineSettings, fine
from pipeline.susceptibility.dipole_inversion.learned.refinement import DfQsmSettings, Dll2Settings, df_qsm, dll2
from pipeline.susceptibility.dipole_inversion.learned.starts import start_maps

REFINEMENTS = ("none", "df_qsm", "dll2", "fine")
_AFTER_START, _AFTER_NETWORK = 0.4, 0.8


@dataclass(frozen=True)
class NetworkSettings(ComputingSettings):
    """Settings of a network's map; a network in its published form is not refined."""

    refinement: str = setting("none", "-", "how the map is corrected by the field", choices=REFINEMENTS)
    rule: str = setting("noise", "-", "where df_qsm stops: at the noise, or as its paper", choices=("noise", "paper"))
    step: float = setting(1.0, "1", "length of a step of df_qsm down the gradient", minimum=0.01, maximum=4.0)
    iterations: int = setting(50, "1", "steps at most of df_qsm, of fine, or of weighed dll2", minimum=1, maximum=10000)
    noise_level: float = setting(
        1.0, "1", "multiple of the noise at which df_qsm and fine stop", minimum=0.1, maximum=10.0
    )
    tolerance: float = setting(1e-3, "1", "df_qsm stops where a step changes the map by less than this", minimum=0.0)
    regularisation: float = setting(
        0.05, "1", "how strongly dll2 holds the map at the network's", minimum=1e-6, maximum=1e3
    )
    is_weighted: bool = setting(False, "-", "dll2 weighs voxels by their noise; the closed form without")
    rate: float = setting(1e-4, "1", "learning rate of fine", minimum=1e-8, maximum=0.1)
    margin: int = setting(16, "voxel", "least padding around the mask in a correction", minimum=4, maximum=128)


@dataclass(frozen=True)
class RefinedNetworkSettings(NetworkSettings):
    """Settings of a network whose map is meant to be corrected."""

    refinement: str = setting("df_qsm", "-", "how the map is corrected by the field", choices=REFINEMENTS)


def network_map(
    spec: NetworkSpec,
    network: nn.Module,
    artefacts: Mapping[str, Tensor],
    context: StepContext,
    settings: NetworkSettings,
) -> Tensor:
    """Return a network's map of a scan, corrected by the field as the settings say.

    Parameters
    ----------
    spec
        What the network is.
    network
        Its trained module on the device of the artefacts; not changed.
    artefacts
        `local_field` [ppm] and `mask`; `field_noise` [ppm] where known; for a network that refines a map, `start`
        `(map, z, y, x)` [ppm], or `magnitude` for the inversions that make them where they are missing; the others
        `(z, y, x)`.
    context
        The grid, and who is told the fraction done.
    settings
        Correction, tiles, precision.

    Returns
    -------
    Susceptibility `(z, y, x)` [ppm].

    Raises
    ------
    UnusableInput
        Shapes disagree, the mask is empty, or tiles are asked for where a network needs the whole volume.
    NotConverged
        The correction diverged.
    """
    scan = Scan(artefacts["local_field"], artefacts["mask"], context.grid, artefacts.get("field_noise"))
    told = context.on_iteration
    start = _start_maps(scan, artefacts, _part(told, 0.0, _AFTER_START)) if spec.needs_start else None
    begun = _AFTER_START if spec.needs_start else 0.0
    if settings.refinement == "fine":
        test_time = FineSettings(settings.iterations, settings.rate, settings.noise_level, settings.margin)
        return fine(spec, network, scan, test_time, start, settings, _part(told, begun, 1.0))
    is_final = settings.refinement == "none"
    progress = _part(told, begun, 1.0 if is_final else _AFTER_NETWORK)
    susceptibility = apply_network(spec, network, scan, start, settings, progress)
    return susceptibility if is_final else _corrected(susceptibility, scan, settings, _part(told, _AFTER_NETWORK, 1.0))


def _start_maps(scan: Scan, artefacts: Mapping[str, Tensor], told: OnIteration | None) -> Tensor:
    """Return the given start maps, or those with which the network was trained."""
    if "start" in artefacts:
        return artefacts["start"]
    return start_maps(scan, artefacts.get("magnitude"), told)


def _corrected(start: Tensor, scan: Scan, settings: NetworkSettings, told: OnIteration | None) -> Tensor:
    if settings.refinement == "dll2":
        closed = Dll2Settings(
            settings.regularisation, settings.is_weighted, settings.iterations, margin=settings.margin
        )
        return dll2(start, scan.local_field, scan.mask, scan.grid, closed, scan.field_noise, told)
    steps = DfQsmSettings(
        settings.rule, settings.step, settings.iterations, settings.noise_level, settings.tolerance, settings.margin
    )
    return df_qsm(start, scan.local_field, scan.mask, scan.grid, steps, scan.field_noise, told)


def _part(told: OnIteration | None, first: float, last: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(first + (last - first) * fraction)


def _method(name: str, memory_volumes: float, settings: type[NetworkSettings] = NetworkSettings) -> Method:
    spec = NETWORKS[name]

    def run(artefacts: Mapping[str, Tensor], context: StepContext, chosen: NetworkSettings) -> dict[str, Tensor]:
        network = load_network(name, device=artefacts["local_field"].device)
        return {"susceptibility": network_map(spec, network, artefacts, context, chosen)}

    return Method(
        name=name,
        citation=spec.citation,
        run=run,
        settings=settings,
        inputs=("local_field", "mask"),
        outputs=("susceptibility",),
        optional_inputs=("field_noise", "magnitude", "start") if spec.needs_start else ("field_noise",),
        learned=True,
        memory_volumes=memory_volumes,
    )


# Measured on cubes of 64 or 96 voxels without refinement; QSMnet in full width is four times its narrowed variant.
NETWORK_METHODS: tuple[Method, ...] = (
    _method("deepqsm", 116.0),
    _method("qsmnet", 320.0),
    _method("qsmnet_plus", 320.0),
    _method("qsmnet_narrow", 80.0),
    _method("qsmnet_plus_narrow", 80.0),
    _method("xqsm", 360.0),
    _method("xqsm_cropped", 360.0),
    _method("kqsm", 215.0),
    _method("kqsm_02", 215.0),
    _method("lpcnn", 162.0),
    _method("modl_qsm", 169.0),
    _method("unet_df", 116.0, RefinedNetworkSettings),
)
