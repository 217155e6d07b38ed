"""The tables of Zhou 2025 on simulated heads: nuclei of accelerated scans against fully sampled ones, and images."""

import math
from collections.abc import Sequence

from pipeline.studies.reconstruction_trials import FULLY_SAMPLED, SIDES, Found, ReconstructionTrial, Truth
from pipeline.studies.table import EvaluationTable

LEAST_CORRELATION, MOST_DIFFERENCE_PERCENT = 0.95, 5.0
"""The paper's own bar for every nucleus, and for the difference of its mean over a group."""
JUDGED = (
    "caudate nucleus",
    "putamen",
    "globus pallidus externus",
    "globus pallidus internus",
    "red nucleus",
    "substantia nigra",
)
"""The paper's nuclei, the two parts of the substantia nigra as one; others are shown beside them."""
_PPB = 1e3
_TINY = 1e-12
_Row = tuple[object, ...]


def reconstruction_tables(found: Sequence[Found], learned: Sequence[str]) -> list[EvaluationTable]:
    """Return what trials say: errors of the images, correlations, differences, and whether the paper's bar is met.

    Parameters
    ----------
    found
        Of one family, as `reconstruction_trials` yields them.
    learned
        Names of the methods that are networks.
    """
    trials = [one for one in found if isinstance(one, ReconstructionTrial)]
    truths = {one.seed: one for one in found if isinstance(one, Truth)}
    return [
        _images(trials),
        _correlations(trials),
        _differences(trials, truths),
        _verdicts(trials, learned),
    ]


def correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Pearson's r of pairs; not a number for less than three, or where either does not vary."""
    count = len(first)
    if count < 3:
        return math.nan
    mean_first, mean_second = sum(first) / count, sum(second) / count
    covariance = sum((a - mean_first) * (b - mean_second) for a, b in zip(first, second, strict=True))
    size = math.sqrt(sum((a - mean_first) ** 2 for a in first) * sum((b - mean_second) ** 2 for b in second))
    return covariance / size if size > _TINY else math.nan


def _images(trials: Sequence[ReconstructionTrial]) -> EvaluationTable:
    rows: list[_Row] = []
    for acceleration, method in _kinds(trials):
        chosen = _chosen(trials, acceleration, method)
        means = [
            sum(getattr(trial, figure) for trial in chosen) / len(chosen)
            for figure in ("psnr_db", "phase_mrad", "field_ppb", "residual", "seconds")
        ]
        rows.append((f"AF {acceleration:g}", method, *means))
    return EvaluationTable(
        "Images of accelerated scans: error in the brain against the noise-free images",
        ("scan", "method", "PSNR [dB]", "phase [mrad]", "field [ppb]", "residual / noise", "time [s]"),
        tuple(rows),
        (
            f"{len({trial.seed for trial in trials})} heads; phase is that between first and last echo. The residual "
            "is that of the measured samples: 1 is noise, less follows it.",
        ),
    )


def _correlations(trials: Sequence[ReconstructionTrial]) -> EvaluationTable:
    kinds = [kind for kind in _kinds(trials) if kind[0] > 1]
    rows: list[_Row] = [
        (nucleus, *(correlation(*_pairs(trials, kind, nucleus)) for kind in kinds)) for nucleus in _nuclei(trials)
    ]
    everything: list[float] = []
    for kind in kinds:
        pairs = [_pairs(trials, kind, nucleus) for nucleus in _nuclei(trials)]
        everything.append(
            correlation([a for first, _ in pairs for a in first], [b for _, second in pairs for b in second])
        )
    rows.append(("all nuclei", *everything))
    return EvaluationTable(
        "Correlation of nuclei with the fully sampled scan, as table 2 of Zhou 2025",
        ("nucleus", *(f"{method}, AF {acceleration:g}" for acceleration, method in kinds)),
        tuple(rows),
        (f"Pearson's r over both sides of each head; the paper's bar is {LEAST_CORRELATION:g}.",),
    )


def _differences(trials: Sequence[ReconstructionTrial], truths: dict[int, Truth]) -> EvaluationTable:
    kinds = [kind for kind in _kinds(trials) if kind[0] > 1]
    rows: list[_Row] = []
    for nucleus in _nuclei(trials):
        full = [value for trial in _chosen(trials, 1.0, FULLY_SAMPLED) for value in _values(trial, nucleus)]
        true = [
            value for trial in _chosen(trials, 1.0, FULLY_SAMPLED) for value in _values(truths[trial.seed], nucleus)
        ]
        shares = [_difference_percent(trials, kind, nucleus) for kind in kinds]
        rows.append((nucleus, _PPB * sum(true) / len(true), _PPB * sum(full) / len(full), *shares))
    return EvaluationTable(
        "Means of nuclei, as table 3 of Zhou 2025: difference from the fully sampled scan [%]",
        (
            "nucleus",
            "truth [ppb]",
            "fully sampled [ppb]",
            *(f"{method}, AF {acceleration:g}" for acceleration, method in kinds),
        ),
        tuple(rows),
        ("Means over both sides of all heads, relative to the mean of the brain.",),
    )


def _verdicts(trials: Sequence[ReconstructionTrial], learned: Sequence[str]) -> EvaluationTable:
    rows: list[_Row] = []
    for kind in _kinds(trials):
        acceleration, method = kind
        if acceleration <= 1:
            continue
        judged = [nucleus for nucleus in _nuclei(trials) if nucleus in JUDGED]
        differences = {nucleus: abs(_difference_percent(trials, kind, nucleus)) for nucleus in judged}
        relations = {nucleus: correlation(*_pairs(trials, kind, nucleus)) for nucleus in judged}
        worst = max(differences, key=lambda nucleus: differences[nucleus])
        loosest = min(relations, key=lambda nucleus: relations[nucleus])
        is_met = differences[worst] <= MOST_DIFFERENCE_PERCENT and relations[loosest] >= LEAST_CORRELATION
        rows.append(
            (
                f"AF {acceleration:g}",
                method,
                "network" if method in learned else "conventional",
                f"{differences[worst]:.1f} % ({worst})",
                f"{relations[loosest]:.3f} ({loosest})",
                "met" if is_met else "not met",
            )
        )
    return EvaluationTable(
        f"The paper's bar: every nucleus within {MOST_DIFFERENCE_PERCENT:g} %, r at least {LEAST_CORRELATION:g}",
        ("scan", "method", "kind", "largest difference", "least r", "bar"),
        tuple(rows),
        ("Judged are the paper's nuclei: " + ", ".join(JUDGED) + ".",),
    )


def _kinds(trials: Sequence[ReconstructionTrial]) -> list[tuple[float, str]]:
    """Return accelerations and methods, by acceleration, in the order of the trials."""
    return sorted(dict.fromkeys((trial.acceleration, trial.method) for trial in trials), key=lambda kind: kind[0])


def _nuclei(trials: Sequence[ReconstructionTrial]) -> list[str]:
    names = [_plain(name) for trial in trials for name in trial.nuclei]
    return list(dict.fromkeys(names))


def _plain(name: str) -> str:
    for side in SIDES:
        name = name.removeprefix(side)
    return name


def _values(one: Found, nucleus: str) -> list[float]:
    return [value for name, value in one.nuclei.items() if _plain(name) == nucleus]


def _chosen(trials: Sequence[ReconstructionTrial], acceleration: float, method: str) -> list[ReconstructionTrial]:
    return [trial for trial in trials if trial.acceleration == acceleration and trial.method == method]


def _pairs(
    trials: Sequence[ReconstructionTrial], kind: tuple[float, str], nucleus: str
) -> tuple[list[float], list[float]]:
    """Return a nucleus' means in the fully sampled scans and in those of a kind, head by head and side by side."""
    full = {trial.seed: trial for trial in _chosen(trials, 1.0, FULLY_SAMPLED)}
    first, second = [], []
    for trial in _chosen(trials, *kind):
        first += _values(full[trial.seed], nucleus)
        second += _values(trial, nucleus)
    return first, second


def _difference_percent(trials: Sequence[ReconstructionTrial], kind: tuple[float, str], nucleus: str) -> float:
    full, own = _pairs(trials, kind, nucleus)
    return 100 * (sum(own) - sum(full)) / max(abs(sum(full)), _TINY)
