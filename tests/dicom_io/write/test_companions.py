"""Companion series: the number under the cursor is the number meant, and every kind says what it is."""

from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.companions import LARGEST_WEIGHTED, Companion, companion_series
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of

TITLES = {
    Companion.LOCAL_FIELD: ("Field [Hz]", "LOCAL_FIELD", "110807", "Hz", (0, 60)),
    Companion.R2STAR: ("R2* [1/s]", "R2_STAR_MAP", "126395", "/s", (50, 100)),
    Companion.SWI: ("SWI", "SWI", "110806", "1", (2048, 4096)),
    Companion.UNCERTAINTY: ("QSM +/- [ppb]", "QSM_UNCERTAINTY", "QSM_UNCERTAINTY", "[ppb]", (50, 100)),
    Companion.COMPARISON: ("QSM difference [ppb]", "QSM_DIFFERENCE", "QSM_DIFFERENCE", "[ppb]", (0, 200)),
}


def values_of(kind: Companion, source: SourceSeries) -> np.ndarray:
    """Return values of both signs where the kind has them."""
    signed = kind in (Companion.LOCAL_FIELD, Companion.COMPARISON)
    return map_of(source) if signed else np.abs(map_of(source))


def pixels(image: Dataset) -> np.ndarray:
    return np.frombuffer(image.PixelData, "<i2").reshape(image.Rows, image.Columns)


@pytest.mark.parametrize("kind", [kind for kind in Companion if kind != Companion.SWI])
def test_the_stored_value_is_the_value_in_whole_units(
    kind: Companion, source: SourceSeries, run_description: RunDescription
) -> None:
    values = values_of(kind, source)
    for index, image in enumerate(companion_series(kind, values, source, run_description)):
        np.testing.assert_array_equal(pixels(image), np.rint(values[index]))
        assert (image.RescaleSlope, image.RescaleIntercept, image.PixelRepresentation) == (1, 0, 1)


@pytest.mark.parametrize("kind", Companion)
def test_every_kind_is_named_and_has_its_quantity_unit_and_one_window(
    kind: Companion, simulated: SourceSeries, run_description: RunDescription
) -> None:
    title, contrast, quantity, unit, window = TITLES[kind]
    images = companion_series(kind, values_of(kind, simulated), simulated, run_description)
    for image in images:
        assert image.SeriesDescription == f"{title} Lodestone 0.1.0 - RESEARCH USE ONLY"
        assert list(image.ImageType) == ["DERIVED", "PRIMARY", "OTHER", contrast]
        (mapping,) = image.RealWorldValueMappingSequence
        assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
        assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == unit
        assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == quantity
        assert (image.WindowCenter, image.WindowWidth) == window


@pytest.mark.parametrize("kind", Companion)
def test_only_the_weighted_image_reaches_beyond_the_brain_and_says_so(
    kind: Companion, simulated: SourceSeries, run_description: RunDescription
) -> None:
    image = companion_series(kind, values_of(kind, simulated), simulated, run_description)[0]
    assert image.RecognizableVisualFeatures == ("YES" if kind == Companion.SWI else "NO")


def test_no_two_series_of_a_run_share_a_uid_a_number_or_a_name(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    values = np.abs(map_of(simulated))
    made = [companion_series(kind, values, simulated, run_description)[0] for kind in Companion]
    made += [
        susceptibility_series(values, simulated, run_description, role)[0] for role in (MapRole.ONLY, MapRole.TWIN)
    ]
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID", "SeriesNumber", "SeriesDescription"):
        assert len({made_one[keyword].value for made_one in made}) == len(made), keyword


@pytest.mark.parametrize("kind", Companion)
def test_equal_input_gives_equal_bytes_and_other_values_another_object(
    kind: Companion, simulated: SourceSeries, run_description: RunDescription
) -> None:
    values = values_of(kind, simulated)
    first, again = (companion_series(kind, values, simulated, run_description) for _ in range(2))
    assert [to_bytes(image) for image in first] == [to_bytes(image) for image in again]
    shifted = companion_series(kind, np.roll(values, 1), simulated, run_description)
    assert shifted[0].SeriesInstanceUID != first[0].SeriesInstanceUID


def test_a_weighted_image_reaches_the_top_of_12_bits_and_a_few_bright_vessels_do_not_darken_it(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    weighted = np.full(simulated.geometry.shape, 0.4)
    weighted[2, 3:5, 3] = 8.0
    images = companion_series(Companion.SWI, weighted, simulated, run_description)
    assert pixels(images[0]).max() == LARGEST_WEIGHTED
    assert pixels(images[2])[3, 3] == LARGEST_WEIGHTED
    assert "2 voxels were clipped to 0..4095 arbitrary units." in images[0].DerivationDescription


def test_clipped_voxels_are_counted_in_the_derivation(simulated: SourceSeries, run_description: RunDescription) -> None:
    values = np.zeros(simulated.geometry.shape)
    values[0, 0, :3] = 40_000
    values[1, 1, 1] = -3
    image = companion_series(Companion.R2STAR, values, simulated, run_description)[1]
    assert "4 voxels were clipped to 0..32767 1/s." in image.DerivationDescription
    assert pixels(image).min() == 0


def test_a_companion_does_not_claim_to_be_the_network_s_map(
    simulated: SourceSeries, learned_run: RunDescription
) -> None:
    image = companion_series(Companion.LOCAL_FIELD, map_of(simulated), simulated, learned_run)[0]
    assert "This is the map of the network" not in image.DerivationDescription + image.ImageComments


@pytest.mark.parametrize("kind", Companion)
def test_holes_and_foreign_grids_are_refused(
    kind: Companion, simulated: SourceSeries, run_description: RunDescription
) -> None:
    values = np.zeros(simulated.geometry.shape)
    values[0, 0, 0] = np.nan
    with pytest.raises(InvalidObject, match="NaN or infinity"):
        companion_series(kind, values, simulated, run_description)
    with pytest.raises(InvalidObject, match="has shape"):
        companion_series(kind, values[1:], simulated, run_description)


def test_a_negative_weighted_image_is_refused(simulated: SourceSeries, run_description: RunDescription) -> None:
    with pytest.raises(InvalidObject, match="negative"):
        companion_series(Companion.SWI, -np.ones(simulated.geometry.shape), simulated, run_description)


def test_an_empty_weighted_image_stays_empty(simulated: SourceSeries, run_description: RunDescription) -> None:
    images = companion_series(Companion.SWI, np.zeros(simulated.geometry.shape), simulated, run_description)
    assert all(not pixels(image).any() for image in images)


@pytest.mark.parametrize("kind", Companion)
def test_dciodvfy_and_our_validation_find_no_error(
    kind: Companion,
    source: SourceSeries,
    run_description: RunDescription,
    conformance_errors: Callable[[Dataset], list[str]],
) -> None:
    image = companion_series(kind, values_of(kind, source), source, run_description)[-1]
    validate(image)
    assert conformance_errors(image) == []


@pytest.mark.parametrize("kind", Companion)
def test_the_mappings_label_is_short_and_never_ends_inside_its_unit(
    kind: Companion, simulated: SourceSeries, run_description: RunDescription
) -> None:
    image = companion_series(kind, values_of(kind, simulated), simulated, run_description)[0]
    label = image.RealWorldValueMappingSequence[0].LUTLabel
    assert len(label) <= 16
    assert label in (TITLES[kind][0], TITLES[kind][0].partition(" [")[0])
