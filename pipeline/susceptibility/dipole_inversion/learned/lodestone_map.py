"""Our own learned inversion: start maps, envelope, network, correction by the field, gates, and the fall back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from pipeline.method import LEARNED_MAP_USED, Finding, Method, OnFinding, OnIteration, StepContext, setting
from pipeline.networks.inputs import Scan
from pipeline.networks.table import NETWORKS, NetworkSpec
from pipeline.networks.weights import load_network
from pipeline.susceptibility.dipole_inversion.learned.apply import ComputingSettings
from pipeline.susceptibility.dipole_inversion.learned.data_term import DataTerm
from pipeline.susceptibility.dipole_inversion.learned.envelope import EnvelopeVerdict, input_figures
from pipeline.susceptibility.dipole_inversion.learned.gates import (
    MapFigures,
    envelope_finding,
    map_figures,
    map_findings,
)
from pipeline.susceptibility.dipole_inversion.learned.intervals import ensemble, spread_terms
from pipeline.susceptibility.dipole_inversion.learned.refinement import DfQsmSettings, stepped
from pipeline.susceptibility.dipole_inversion.learned.starts import start_maps
from pipeline.susceptibility.dipole_inversion.learned.trust import cone_part
from pipeline.susceptibility.dipole_inversion.learned.trust_calibration import TrustCalibration, load_calibration

NAME = "lodestone_net"
REFINEMENTS = ("df_qsm", "none")
_AFTER_STARTS, _AFTER_MAP = 0.55, 0.95
_AFTER_NETWORK = 0.7


@dataclass(frozen=True)
class LodestoneSettings(ComputingSettings):
    """Settings of our learned inversion."""

    refinement: str = setting("df_qsm", "-", "how the map is corrected by the field", choices=REFINEMENTS)
    iterations: int = setting(10, "1", "steps at most of df_qsm", minimum=1, maximum=10000)
    noise_level: float = setting(1.0, "1", "multiple of the noise at which df_qsm stops", minimum=0.1, maximum=10.0)
    falls_back: bool = setting(True, "-", "whether the classical map is given where a gate fails")


@dataclass(frozen=True)
class LearnedMap:
    """A network's map of a scan.

    Attributes
    ----------
    susceptibility
        Corrected by the field where asked `(z, y, x)` [ppm].
    variance
        Of the ensemble, before the correction `(z, y, x)` [ppm²].
    figures
        What the gates judge the map by.
    """

    susceptibility: Tensor
    variance: Tensor
    figures: MapFigures


def learned_map(
    spec: NetworkSpec,
    network: nn.Module,
    scan: Scan,
    starts: Tensor,
    n_members: int,
    settings: LodestoneSettings,
    on_iteration: OnIteration | None = None,
) -> LearnedMap:
    """Return a network's map of a scan from start maps: the mean of an ensemble of views, corrected by the field.

    Parameters
    ----------
    spec, network
        The network and its trained module.
    scan
        Local field, mask, grid and field noise.
    starts
        As `start_maps` returns them.
    n_members
        Size of the ensemble, 1 to 4.
    settings
        Correction, tiles, precision.
    on_iteration
        Told the fraction done.

    Raises
    ------
    UnusableInput
        Shapes disagree.
    NotConverged
        The correction diverged.
    """
    told = _part(on_iteration, 0.0, _AFTER_NETWORK)
    views = ensemble(spec, network, scan, starts, n_members, settings, told)
    steps = DfQsmSettings(iterations=settings.iterations, noise_level=settings.noise_level)
    order = steps.harmonic_order
    term = DataTerm.of(scan.local_field, scan.mask, scan.grid, scan.field_noise, margin=steps.margin, order=order)
    term = term.cleaned(term.framed(views.mean), steps.background_steps)
    found = views.mean
    if settings.refinement == "df_qsm":
        found = stepped(found, term, steps, _part(on_iteration, _AFTER_NETWORK, 1.0))
    return LearnedMap(found, views.variance, map_figures(found, starts[0], scan.mask, term))


def trusted_map(
    spec: NetworkSpec,
    network: nn.Module,
    calibration: TrustCalibration,
    artefacts: Mapping[str, Tensor],
    context: StepContext,
    settings: LodestoneSettings,
) -> dict[str, Tensor]:
    """Return the learned map where every gate is passed, else the classical one, with what can be said of it.

    What is found is told to the context's `on_finding`. An input outside the envelope is not shown to the network.

    Parameters
    ----------
    spec, network, calibration
        The network, its trained module, and what its trust rests on.
    artefacts
        `local_field` [ppm] and `mask`; `field_noise` [ppm] and `magnitude` where known; `start`, the two start maps
        [ppm], where they are made already. All `(z, y, x)`, `magnitude` also `(echo, z, y, x)`.
    context
        The grid, and who is told what.
    settings
        See there; where `falls_back` is false, gates only warn.

    Returns
    -------
    `susceptibility`, `classical_susceptibility`, `susceptibility_spread` (half the 90 % interval of each voxel) and
    `cone_part`, all `(z, y, x)` [ppm].

    Raises
    ------
    UnusableInput
        Shapes disagree or the mask is empty.
    NotConverged
        An inversion diverged.
    """
    scan = Scan(artefacts["local_field"], artefacts["mask"], context.grid, artefacts.get("field_noise"))
    verdict = calibration.envelope.verdict(input_figures(scan))
    progress = context.on_iteration
    starts = artefacts.get("start")
    if starts is None:
        starts = start_maps(scan, artefacts.get("magnitude"), _part(progress, 0.0, _AFTER_STARTS))
    judged = _Judgement(context.on_finding, settings.falls_back)
    judged.hear(envelope_finding(verdict))
    made = None
    if judged.may_go_on:
        told = _part(progress, _AFTER_STARTS, _AFTER_MAP)
        made = learned_map(spec, network, scan, starts, calibration.n_members, settings, told)
        for finding in map_findings(made.figures, calibration.limits):
            judged.hear(finding)
    if not judged.may_go_on:
        made = None
    is_learned = made is not None
    judged.tell(_source_finding(is_learned, verdict))
    susceptibility, variance = (starts[0].clone(), None) if made is None else (made.susceptibility, made.variance)
    cone = cone_part(susceptibility, scan.mask, scan.grid)
    terms = spread_terms(susceptibility, starts, variance, scan)
    scale = calibration.learned if is_learned else calibration.classical
    if progress is not None:
        progress(1.0)
    return {
        "susceptibility": susceptibility,
        "classical_susceptibility": starts[0].clone(),
        "susceptibility_spread": scale.half_widths(terms) * scan.mask,
        "cone_part": cone * scan.mask,
    }


@dataclass
class _Judgement:
    """What was found so far: whether a warning has closed a gate, and who is told."""

    told: OnFinding | None
    falls_back: bool
    warnings: list[Finding] = field(default_factory=list)

    @property
    def may_go_on(self) -> bool:
        return not (self.falls_back and self.warnings)

    def hear(self, finding: Finding) -> None:
        if finding.is_warning:
            self.warnings.append(finding)
        self.tell(finding)

    def tell(self, finding: Finding) -> None:
        if self.told is not None:
            self.told(finding)


def _source_finding(is_learned: bool, verdict: EnvelopeVerdict) -> Finding:
    figures = {LEARNED_MAP_USED: float(is_learned)}
    if is_learned:
        said = "The susceptibility is the network's map."
        return Finding("susceptibility_source", said, figures, is_warning=False)
    said = "The susceptibility is the classical map, since a check of the learned one failed."
    if not verdict.is_inside:
        said += " Its intervals were calibrated on scans unlike this one."
    return Finding("susceptibility_source", said, figures, is_warning=True)


def _part(told: OnIteration | None, first: float, last: float) -> OnIteration | None:
    if told is None:
        return None
    return lambda fraction: told(first + (last - first) * fraction)


def _run(artefacts: Mapping[str, Tensor], context: StepContext, settings: LodestoneSettings) -> dict[str, Tensor]:
    network = load_network(NAME, device=artefacts["local_field"].device)
    return trusted_map(NETWORKS[NAME], network, load_calibration(NAME), artefacts, context, settings)


LODESTONE_NET = Method(
    name=NAME,
    citation=NETWORKS[NAME].citation,
    run=_run,
    settings=LodestoneSettings,
    inputs=("local_field", "mask"),
    outputs=("susceptibility", "classical_susceptibility", "susceptibility_spread", "cone_part"),
    optional_inputs=("field_noise", "magnitude", "start"),
    learned=True,
    memory_volumes=168.0,
)
