"""Write what a recipe made beside the susceptibility as MR image series: field, R2*, SWI, uncertainty, comparison.

As with the susceptibility, the stored value is the value: whole numbers of one unit, slope 1, intercept 0, one window.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from pydicom import Dataset
from pydicom.sr.coding import Code

from dicom_io.codes import (
    BACKGROUND_REMOVAL,
    FIELD_MAP,
    HERTZ,
    NO_UNITS,
    PARTS_PER_BILLION,
    PER_SECOND,
    R2_STAR,
    RELAXOMETRY,
    SUBTRACTION,
    SUSCEPTIBILITY_DIFFERENCE,
    SUSCEPTIBILITY_MAPPING,
    SUSCEPTIBILITY_UNCERTAINTY,
    SUSCEPTIBILITY_WEIGHTING,
    T2_STAR_WEIGHTED,
)
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.identity import COMPANION_SERIES_OFFSET
from dicom_io.write.map_images import MapDescription, require_finite, require_shape, to_stored
from dicom_io.write.mr_image import image_series
from dicom_io.write.provenance import RunDescription, derivation_description
from dicom_io.write.real_world_values import LARGEST_STORED, ValueMapping

LARGEST_WEIGHTED = 4095
"""The brightest value of a susceptibility-weighted image, as scanners store it in 12 bits."""
_BRIGHTEST_PERCENTILE = 99.9
_SERIES_NUMBER_STEP = 1_000


class Companion(StrEnum):
    """A map beside the susceptibility, by the name that configuration and outbox give it.

    `LOCAL_FIELD` is in Hz, `R2STAR` in 1/s, `SWI` in arbitrary units; `UNCERTAINTY`, half the width of the 90 %
    interval of a learned map, and `COMPARISON`, learned minus classical, are in ppb.
    """

    LOCAL_FIELD = "local_field"
    R2STAR = "r2star"
    SWI = "swi"
    UNCERTAINTY = "uncertainty"
    COMPARISON = "comparison"


@dataclass(frozen=True)
class _Kind:
    """How one companion is named and shown; `window` is centre and width, `range` what is stored, both in its unit."""

    title: str
    contrast: str
    values: str
    derivation_code: Code
    quantity: Code
    unit: Code
    unit_text: str
    window: tuple[int, int]
    range: tuple[int, int] = (-LARGEST_STORED, LARGEST_STORED)


_LONGEST_LABEL = 16
_POSITIVE = (0, LARGEST_STORED)
_KINDS: Mapping[Companion, _Kind] = {
    Companion.LOCAL_FIELD: _Kind(
        "Field [Hz]",
        "LOCAL_FIELD",
        "Local field in whole Hz, background removed, positive where the field is higher.",
        BACKGROUND_REMOVAL,
        FIELD_MAP,
        HERTZ,
        "Hz",
        (0, 60),
    ),
    Companion.R2STAR: _Kind(
        "R2* [1/s]",
        "R2_STAR_MAP",
        "R2* in whole 1/s.",
        RELAXOMETRY,
        R2_STAR,
        PER_SECOND,
        "1/s",
        (50, 100),
        _POSITIVE,
    ),
    Companion.SWI: _Kind(
        "SWI",
        "SWI",
        "Susceptibility-weighted image in arbitrary units, scaled to 0..4095.",
        SUSCEPTIBILITY_WEIGHTING,
        T2_STAR_WEIGHTED,
        NO_UNITS,
        "arbitrary units",
        (2048, 4096),
        (0, LARGEST_WEIGHTED),
    ),
    Companion.UNCERTAINTY: _Kind(
        "QSM +/- [ppb]",
        "QSM_UNCERTAINTY",
        "Half the width of each voxel's 90 % interval of susceptibility, in ppb.",
        SUSCEPTIBILITY_MAPPING,
        SUSCEPTIBILITY_UNCERTAINTY,
        PARTS_PER_BILLION,
        "ppb",
        (50, 100),
        _POSITIVE,
    ),
    Companion.COMPARISON: _Kind(
        "QSM difference [ppb]",
        "QSM_DIFFERENCE",
        "The network's susceptibility minus that of the classical inversion, in ppb.",
        SUBTRACTION,
        SUSCEPTIBILITY_DIFFERENCE,
        PARTS_PER_BILLION,
        "ppb",
        (0, 200),
    ),
}


def companion_series(kind: Companion, values: np.ndarray, source: SourceSeries, run: RunDescription) -> list[Dataset]:
    """Write a companion map as one MR Image Storage object per slice, in the source's geometry (PS3.3 A.4).

    Equal map, source and run give equal UIDs and equal bytes. Voxels that do not fit are clipped, and their number is
    in the derivation text.

    Parameters
    ----------
    kind
        Which map it is.
    values
        `(z, y, x)`: [Hz] for the local field, [1/s] for R2*, any unit for SWI, [ppb] for uncertainty and comparison.
    source
        What the map was made of.
    run
        What made it.

    Raises
    ------
    InvalidObject
        The shape is not the source's, values are not finite, or a weighted image has negative ones.
    """
    kind = Companion(kind)
    named = kind.value.replace("_", " ")
    require_shape(values, source, f"{named} map")
    lowest, highest = _KINDS[kind].range
    in_unit = _scaled_to_12_bits(values) if kind == Companion.SWI else values
    stored, clipped = to_stored(in_unit, f"{named} map", lowest, highest)
    # The run's sentence is about the susceptibility: a companion must not claim to be "the map of the network".
    beside = replace(run, map_sentence="")
    return image_series(stored, source, beside, _described(kind, source, beside, clipped))


def _scaled_to_12_bits(weighted: np.ndarray) -> np.ndarray:
    """Scale a weighted image so that all but its few brightest voxels, vessels with inflow, lie below the maximum."""
    require_finite(weighted, "swi map")
    if weighted.min() < 0:
        message = "The weighted image has negative values, which no magnitude has; see the run's weighting step."
        raise InvalidObject(message)
    signal = weighted[weighted > 0]
    brightest = float(np.percentile(signal, _BRIGHTEST_PERCENTILE)) if signal.size else 1.0
    return weighted.astype(np.float64) * (LARGEST_WEIGHTED / brightest)


def _label(title: str) -> str:
    """Return a title as LUTLabel, an SH of 16 characters; the unit, which stands beside it, goes first."""
    return title if len(title) <= _LONGEST_LABEL else title.partition(" [")[0][:_LONGEST_LABEL]


def _described(kind: Companion, source: SourceSeries, run: RunDescription, clipped: int) -> MapDescription:
    described = _KINDS[kind]
    lowest, highest = described.range
    center, width = described.window
    clipped_to = f"{lowest}..{highest} {described.unit_text}"
    mapping = ValueMapping(
        described.quantity,
        described.unit,
        1.0,
        _label(described.title),
        f"{described.quantity.meaning[: 60 - len(described.unit_text)]} in {described.unit_text}"[:64],
    )
    return MapDescription(
        identity=(kind.value,),
        title=described.title,
        contrast=(described.contrast,),
        series_offset=COMPANION_SERIES_OFFSET + _SERIES_NUMBER_STEP * list(Companion).index(kind),
        derivation=derivation_description(source, run, clipped, described.values, clipped_to),
        derivation_code=described.derivation_code,
        window=described.window,
        window_explanation=f"{center - width // 2} to {center + width // 2} {described.unit_text}",
        mappings=(mapping,),
        lowest=lowest,
        highest=highest,
        # The weighted image is not masked.
        shows_face=kind == Companion.SWI,
    )
