"""What a method reached on a trial: every metric of the comparison, and each region's mean."""

from dataclasses import dataclass, field

from torch import Tensor

from pipeline.studies.metrics import detrended_nrmse, nrmse, psnr, slope
from pipeline.studies.region_metrics import RegionError, linearity, mean_absolute_error_ppb, region_errors
from pipeline.studies.structure import hfen, xsim
from pipeline.training.evaluation_axes import Level
from pipeline.training.evaluation_trials import Trial

Scores = dict[str, float]

METRICS: dict[str, str] = {
    "detrended_nrmse": "detrended NRMSE [%]",
    "nrmse": "NRMSE [%]",
    "hfen": "HFEN [%]",
    "xsim": "XSIM",
    "psnr": "PSNR [dB]",
    "region_error_ppb": "region error [ppb]",
    "region_slope": "linearity of regions",
    "slope": "slope",
}
"""Headings of the figures of a map, of which the first decides."""

DEFAULT, TUNED_WEIGHT = "default", "tuned"
BEFORE, AFTER = "network alone", "with DF-QSM"


@dataclass(frozen=True)
class Result:
    """What one method reached on one trial.

    Attributes
    ----------
    method
        A network or a classical method.
    variant
        "default", "tuned", or a network's map before or after DF-QSM.
    generator, trial
        What it was tried on.
    level
        What was set, where one factor at a time is varied; None in the comparison of methods.
    multiple
        Of the classical method's regularisation.
    scores
        Figures by their keys; empty where there is a remark.
    regions
        Truth and measurement in each region.
    seconds
        Time of the map.
    remark
        Why there is no figure.
    """

    method: str
    variant: str
    generator: str
    trial: str
    level: Level | None = None
    multiple: float = 1.0
    scores: Scores = field(default_factory=dict)
    regions: tuple[RegionError, ...] = ()
    seconds: float = 0.0
    remark: str = ""


def scored(trial: Trial, found: Tensor) -> tuple[Scores, tuple[RegionError, ...]]:
    """Return every metric of a map over the mask of a trial, and the errors of its regions."""
    truth, mask = trial.susceptibility, trial.mask
    regions = region_errors(found, truth, mask, trial.labels, trial.label_names)
    scores = {
        "detrended_nrmse": detrended_nrmse(found, truth, mask),
        "nrmse": nrmse(found, truth, mask),
        "hfen": hfen(found, truth, mask),
        "xsim": xsim(found, truth, mask),
        "psnr": psnr(found, truth, mask),
        "region_error_ppb": mean_absolute_error_ppb(regions),
        "region_slope": linearity(regions)[0],
        "slope": slope(found, truth, mask),
    }
    return scores, tuple(regions)
