"""How each step's outputs are scored against the truth of a simulated scan: one function and its columns per step."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from scipy import ndimage
from torch import Tensor

from pipeline.studies.accuracy import EROSION_VOXELS, LESIONS
from pipeline.studies.cases import Case
from pipeline.studies.metrics import correlation, detrended_nrmse, mae, nrmse, psnr, slope
from pipeline.studies.region_metrics import lesion_moment, linearity, mean_absolute_error_ppb, region_errors
from pipeline.studies.structure import gradient_error, hfen, ssim, xsim

DEEP_MM = 9.0
INNER_MM = 5.0
"""Nearer to the surface than this, voxels half full of fluid, air's field and lost signal decide more than a method."""
_NORMAL_MEDIAN = 0.6745
"""Median of the absolute value of a normal variable of unit variance."""
Scores = dict[str, float]

FIELD_MAP = "field_map"
"""The pseudo-step from the acquired phase to the total field; its methods are those of the echo combination."""
CHAIN = "chain"
"""The pseudo-step from the acquired phase to the referenced map; its methods are the built-in recipes."""


class LackingTruth(Exception):
    """A simulated scan gives a method no input, or its output no truth; the sentence says which."""


@dataclass(frozen=True)
class Column:
    """A figure of a table: its key, heading and unit, and which value of it is good: low, high or near one."""

    key: str
    heading: str
    unit: str
    good: str = "low"

    def worst(self, values: list[float]) -> float:
        """Return the worst of several values; not a number where there is none."""
        known = [value for value in values if not math.isnan(value)]
        if not known:
            return math.nan
        badness = {"low": lambda value: value, "high": lambda value: -value, "one": lambda value: abs(value - 1)}
        return max(known, key=badness[self.good])


@dataclass(frozen=True)
class StepScore:
    """How a step is scored: the figures, of which the first decides, and the function that finds them."""

    columns: tuple[Column, ...]
    score: Callable[[Case, Mapping[str, Tensor]], Scores]


_KEPT = Column("kept", "brain kept", "%", "high")
MAP_COLUMNS = (
    Column("nrmse", "NRMSE", "%"),
    Column("detrended_nrmse", "detrended", "%"),
    Column("slope", "slope", "1", "one"),
    _KEPT,
    Column("dentate_error_ppb", "dentate error", "ppb"),
    Column("inner_nrmse", "deeper than 5 mm", "%"),
    Column("roi_error_ppb", "ROI error", "ppb"),
    Column("dgm_slope", "DGM slope", "1", "one"),
    Column("xsim", "XSIM", "1", "high"),
    Column("hfen", "HFEN", "%"),
    Column("ssim", "SSIM", "1", "high"),
    Column("psnr", "PSNR", "dB", "high"),
    Column("mae_ppb", "MAE", "ppb"),
    Column("gxe_ppb", "GXE", "ppb/voxel"),
    Column("correlation", "CC", "1", "high"),
    Column("dgm_r2", "DGM R²", "1", "high"),
    Column("calcification_moment_error", "calc. moment", "%"),
)


def score_map(case: Case, made: Mapping[str, Tensor]) -> Scores:
    """Return every metric of a susceptibility map over the part of the brain that it covers."""
    found, truth, mask = made["susceptibility"].float().cpu(), case.scan.susceptibility, _covered(case, made)
    nuclei = {label: name for label, name in case.scan.label_names.items() if name not in LESIONS}
    regions = region_errors(found, truth, mask, case.scan.labels, nuclei)
    dgm_slope, dgm_r2 = linearity(regions)
    return {
        "nrmse": nrmse(found, truth, mask),
        "detrended_nrmse": detrended_nrmse(found, truth, mask),
        "slope": slope(found, truth, mask),
        "kept": _percent_kept(case, mask),
        "dentate_error_ppb": _dentate_error(case, found, truth, mask),
        "inner_nrmse": _nrmse_below(case, INNER_MM, found, truth, mask),
        "roi_error_ppb": mean_absolute_error_ppb(regions),
        "dgm_slope": dgm_slope,
        "xsim": xsim(found, truth, mask),
        "hfen": hfen(found, truth, mask),
        "ssim": ssim(found, truth, mask),
        "psnr": psnr(found, truth, mask),
        "mae_ppb": 1000 * mae(found, truth, mask),
        "gxe_ppb": 1000 * gradient_error(found, truth, mask),
        "correlation": correlation(found, truth, mask),
        "dgm_r2": dgm_r2,
        "calcification_moment_error": _moment_error(case, found, mask),
    }


def _dentate_error(case: Case, found: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the larger error of the dentate nuclei [ppb], which lie nearest to the air of the ears."""
    names = {label: name for label, name in case.scan.label_names.items() if "dentate" in name.lower()}
    regions = region_errors(found, truth, mask, case.scan.labels, names)
    return max((abs(region.error_ppb) for region in regions), default=math.nan)


def _moment_error(case: Case, found: Tensor, mask: Tensor) -> float:
    label = next((label for label, name in case.scan.label_names.items() if name == "Calcification"), None)
    lesion = case.scan.labels == label if label else torch.zeros_like(mask)
    if not bool((lesion & mask).any()):
        return math.nan
    voxel = case.grid.voxel_size_mm
    true, measured = (lesion_moment(values, lesion, mask, voxel) for values in (case.scan.susceptibility, found))
    return 100 * abs(measured - true) / abs(true)


def _score_local_field(case: Case, made: Mapping[str, Tensor]) -> Scores:
    found, truth, mask = made["local_field"].float().cpu(), case.scan.local_field, _covered(case, made)
    return {
        "nrmse": nrmse(found, truth, mask),
        "deep_nrmse": _nrmse_below(case, DEEP_MM, found, truth, mask),
        "kept": _percent_kept(case, mask),
        "dentate_bias_ppb": _dentate_error(case, found, truth, mask),
        "slope": slope(found, truth, mask),
        "mae_ppb": 1000 * mae(found, truth, mask),
    }


def _score_field(case: Case, made: Mapping[str, Tensor]) -> Scores:
    return _field_scores(case, made, case.field_noise_without_offset)


def _score_field_map(case: Case, made: Mapping[str, Tensor]) -> Scores:
    return _field_scores(case, made, case.field_noise)


def _field_scores(case: Case, made: Mapping[str, Tensor], least_noise: Tensor) -> Scores:
    mask = _covered(case, made)
    deep = (case.depth_mm > DEEP_MM)[mask]
    error = (made["total_field"].float().cpu() - case.scan.total_field)[mask]
    # A whole turn of one echo more or less is a constant; so is the offset that a fit gives to the phase instead.
    error = 1000 * (error - error[deep].median())
    bound = 1000 * least_noise[mask]
    noise = 1000 * made["field_noise"].cpu()[mask] if "field_noise" in made else torch.full_like(bound, math.nan)
    return {
        "deep_over_bound": float(_rms(error[deep]) / _rms(bound[deep])),
        "rms_over_bound": float(_rms(error) / _rms(bound)),
        "rms_ppb": float(_rms(error)),
        "median_over_bound": float(error.abs().median() / (_NORMAL_MEDIAN * bound.median())),
        "stated_noise_over_bound": float(noise.median() / bound.median()),
    }


def _score_unwrapping(case: Case, made: Mapping[str, Tensor]) -> Scores:
    mask = case.mask
    turns = ((made["unwrapped_phase"].float().cpu() - case.unwrapped_phase) / (2 * math.pi))[:, mask]
    wrong = [100 * float(((echo - echo.median().round()).abs() > 0.5).float().mean()) for echo in turns]
    return {"wrong_percent": max(wrong), "wrong_percent_first_echo": wrong[0]}


def _score_offset(case: Case, made: Mapping[str, Tensor]) -> Scores:
    removed = case.scan.acquisition.phase - made["phase"].float().cpu()
    return {"rms_mrad": 1000 * _circular_rms((removed - case.offset)[:, case.mask])}


def _score_bipolar(case: Case, made: Mapping[str, Tensor]) -> Scores:
    found = made["phase"].float().cpu()[:, case.mask]
    wanted = case.scan.acquisition.phase[:, case.mask]
    # Whether odd or even echoes are taken as right is free; their disagreement is not.
    curvatures = [echoes[:-2] - 2 * echoes[1:-1] + echoes[2:] for echoes in (found, wanted)]
    difference = curvatures[0] - curvatures[1]
    return {"rms_mrad": 1000 * float(_wrapped(difference).square().mean().sqrt())}


def _score_coils(case: Case, made: Mapping[str, Tensor]) -> Scores:
    found, wanted = made["phase"].float().cpu()[:, case.mask], case.offset_free_phase[:, case.mask]
    advance = [echoes[1:] - echoes[:1] for echoes in (found, wanted)]
    magnitude = made["magnitude"].float().cpu()
    decay = [image[-1] / image[0].clamp_min(1e-12) for image in (magnitude, case.scan.acquisition.magnitude)]
    return {
        "rms_mrad": 1000 * _circular_rms(advance[0] - advance[1]),
        "decay_error": 100 * float((decay[0] - decay[1])[case.mask].abs().median()),
    }


def _score_mask(case: Case, made: Mapping[str, Tensor]) -> Scores:
    found, brain = made["mask"].cpu().bool(), case.mask
    cross = ndimage.generate_binary_structure(3, 1)
    eroded = torch.from_numpy(ndimage.binary_erosion(brain.numpy(), cross, iterations=EROSION_VOXELS))
    both = int((found & brain).sum())
    return {
        "dice": 2 * both / (int(found.sum()) + int(brain.sum())),
        "outside": 100 * (1 - both / max(1, int(found.sum()))),
        "eroded_brain_kept": 100 * float((found & eroded).sum() / eroded.sum()),
        "kept": 100 * both / int(brain.sum()),
    }


def _score_relaxation(case: Case, made: Mapping[str, Tensor]) -> Scores:
    # Near the surface, dephasing by uneven fields adds to the tissue's own decay.
    if case.r2star is None:
        raise LackingTruth("the scan does not tell its true R2*")
    deep = case.mask & (case.depth_mm > DEEP_MM)
    error = (made["r2star"].float().cpu() - case.r2star)[deep]
    return {"rms_per_s": float(error.square().mean().sqrt()), "bias_per_s": float(error.median().abs())}


def _score_sources(case: Case, made: Mapping[str, Tensor]) -> Scores:
    scores: Scores = {}
    for name, truth in zip(("paramagnetic", "diamagnetic"), case.sources, strict=True):
        found = made[name].float().cpu()
        # Some authors give the diamagnetic part as a positive strength.
        found = -found.abs() if name == "diamagnetic" else found
        scores[f"{name}_xsim"] = xsim(found, truth, case.mask)
        scores[f"{name}_nrmse"] = nrmse(found, truth, case.mask)
    scores["xsim"] = min(scores["paramagnetic_xsim"], scores["diamagnetic_xsim"])
    return scores


def _score_reference(case: Case, made: Mapping[str, Tensor]) -> Scores:
    difference = (made["susceptibility"].float().cpu() - case.scan.susceptibility)[case.mask]
    return {
        "zero_ppb": 1000 * float(difference.mean().abs()),
        "change_of_contrast_ppb": 1000 * float(difference.std()),
    }


def _nrmse_below(case: Case, depth_mm: float, found: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Return the NRMSE where the brain's surface is farther than a depth [mm]; not a number where nothing is."""
    inside = mask & (case.depth_mm > depth_mm)
    return nrmse(found, truth, inside) if int(inside.sum()) > 1 else math.nan


def _rms(values: Tensor) -> Tensor:
    return values.square().mean().sqrt()


def _covered(case: Case, made: Mapping[str, Tensor]) -> Tensor:
    return case.mask & made["mask"].cpu().bool() if "mask" in made else case.mask


def _percent_kept(case: Case, mask: Tensor) -> float:
    return 100 * int(mask.sum()) / int(case.mask.sum())


def _wrapped(phase: Tensor) -> Tensor:
    return torch.remainder(phase + math.pi, 2 * math.pi) - math.pi


def _circular_rms(phase: Tensor) -> float:
    """Return the root mean square of phases about their circular mean [rad]."""
    mean = torch.polar(torch.ones_like(phase), phase).mean().angle()
    return float(_wrapped(phase - mean).square().mean().sqrt())


_FIELD_COLUMNS = (
    Column("deep_over_bound", "rms / bound below 9 mm", "1"),
    Column("rms_over_bound", "rms / bound", "1"),
    Column("rms_ppb", "rms", "ppb"),
    Column("median_over_bound", "median / bound", "1"),
    Column("stated_noise_over_bound", "stated noise / bound", "1", "one"),
)
_LOCAL_FIELD_COLUMNS = (
    Column("deep_nrmse", "deeper than 9 mm", "%"),
    Column("nrmse", "NRMSE", "%"),
    _KEPT,
    Column("dentate_bias_ppb", "dentate bias", "ppb"),
    Column("slope", "slope", "1", "one"),
    Column("mae_ppb", "MAE", "ppb"),
)
_UNWRAPPING_COLUMNS = (
    Column("wrong_percent", "wrong turns", "%"),
    Column("wrong_percent_first_echo", "in first echo", "%"),
)
_MASK_COLUMNS = (
    Column("dice", "Dice", "1", "high"),
    Column("outside", "outside brain", "%"),
    Column("eroded_brain_kept", "eroded brain kept", "%", "high"),
    _KEPT,
)
_SOURCE_COLUMNS = (
    Column("xsim", "lower XSIM", "1", "high"),
    Column("paramagnetic_xsim", "XSIM χ+", "1", "high"),
    Column("diamagnetic_xsim", "XSIM χ−", "1", "high"),
    Column("paramagnetic_nrmse", "NRMSE χ+", "%"),
    Column("diamagnetic_nrmse", "NRMSE χ−", "%"),
)
_ERROR_OF_PHASE = (Column("rms_mrad", "rms", "mrad"),)

STEP_SCORES: dict[str, StepScore] = {
    "coil_combination": StepScore((*_ERROR_OF_PHASE, Column("decay_error", "decay error", "%")), _score_coils),
    "bipolar_correction": StepScore(_ERROR_OF_PHASE, _score_bipolar),
    "phase_offset_removal": StepScore(_ERROR_OF_PHASE, _score_offset),
    "masking": StepScore(_MASK_COLUMNS, _score_mask),
    "phase_unwrapping": StepScore(_UNWRAPPING_COLUMNS, _score_unwrapping),
    "echo_combination": StepScore(_FIELD_COLUMNS, _score_field),
    "relaxometry": StepScore(
        (Column("rms_per_s", "rms", "1/s"), Column("bias_per_s", "median error", "1/s")), _score_relaxation
    ),
    "background_field_removal": StepScore(_LOCAL_FIELD_COLUMNS, _score_local_field),
    "dipole_inversion": StepScore(MAP_COLUMNS, score_map),
    "total_field_inversion": StepScore(MAP_COLUMNS, score_map),
    "multi_orientation_inversion": StepScore(MAP_COLUMNS, score_map),
    "source_separation": StepScore(_SOURCE_COLUMNS, _score_sources),
    "referencing": StepScore(
        (
            Column("zero_ppb", "zero from CSF", "ppb"),
            Column("change_of_contrast_ppb", "change of contrast", "ppb"),
        ),
        _score_reference,
    ),
    FIELD_MAP: StepScore(_FIELD_COLUMNS, _score_field_map),
    CHAIN: StepScore(MAP_COLUMNS, score_map),
}
"""Steps that are not here make pictures for the eye, for which there is no truth."""
