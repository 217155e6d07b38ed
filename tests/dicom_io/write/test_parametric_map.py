"""The Parametric Map: float32 ppm as computed, over the susceptibility images, with its quantity and its sources."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import highdicom
import numpy as np
import pytest
from pydicom import Dataset

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.mr_image import MapRole, susceptibility_series
from dicom_io.write.parametric_map import parametric_map
from dicom_io.write.part10 import to_bytes
from dicom_io.write.provenance import RunDescription
from dicom_io.write.validation import validate
from tests.dicom_io.write.conftest import map_of


def map_in_ppm(source: SourceSeries) -> np.ndarray:
    return (map_of(source) / 1000).astype(np.float32)


def made_from(source: SourceSeries, run: RunDescription) -> Dataset:
    values = map_in_ppm(source)
    return parametric_map(values, susceptibility_series(1000 * values, source, run), source, run)


def test_values_are_stored_bit_by_bit(source: SourceSeries, run_description: RunDescription) -> None:
    made = made_from(source, run_description)
    stored = np.frombuffer(made.FloatPixelData, "<f4").reshape(source.geometry.shape)
    np.testing.assert_array_equal(stored, map_in_ppm(source))
    assert (made.BitsAllocated, made.Modality, made.BodyPartExamined) == (32, "MR", "BRAIN")


def test_highdicom_reads_the_quantity_in_ppm_at_the_right_place(
    source: SourceSeries, run_description: RunDescription
) -> None:
    read = highdicom.imread(BytesIO(to_bytes(made_from(source, run_description))))
    volume = read.get_volume(apply_real_world_transform=True)
    geometry = source.geometry
    index = np.array([3, 7, 11])
    place = volume.map_indices_to_reference(index[None])[0]
    there = np.rint(np.linalg.inv(geometry.affine_lps) @ [*place, 1.0]).astype(int)
    assert volume.array[tuple(index)] == map_in_ppm(source)[there[2], there[1], there[0]]
    shared = read.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "ppm"
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "126396"
    assert shared.FrameAnatomySequence[0].AnatomicRegionSequence[0].CodeMeaning == "Brain"


def test_every_frame_names_its_image_first_and_then_all_its_sources(
    source: SourceSeries, run_description: RunDescription
) -> None:
    values = map_in_ppm(source)
    images = susceptibility_series(1000 * values, source, run_description)
    made = parametric_map(values, images, source, run_description)
    for index, frame in enumerate(made.PerFrameFunctionalGroupsSequence):
        assert list(frame.PlanePositionSequence[0].ImagePositionPatient) == list(images[index].ImagePositionPatient)
        first, *others = frame.DerivationImageSequence[0].SourceImageSequence
        assert first.ReferencedSOPInstanceUID == images[index].SOPInstanceUID
        named = {item.ReferencedSOPInstanceUID for item in others}
        assert named == {used.SOPInstanceUID for used in source.frames[index]}
    ours, *scanned = made.ReferencedSeriesSequence
    assert ours.SeriesInstanceUID == images[0].SeriesInstanceUID
    listed = {item.ReferencedSOPInstanceUID for series in scanned for item in series.ReferencedInstanceSequence}
    assert listed == {used.SOPInstanceUID for frames in source.frames for used in frames}


def test_a_source_in_two_series_is_listed_as_two_series(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    frames = tuple(
        tuple(replace(frame, SeriesInstanceUID=f"2.25.{1 + number % 2}") for number, frame in enumerate(used))
        for used in simulated.frames
    )
    made = made_from(replace(simulated, frames=frames), run_description)
    assert [item.SeriesInstanceUID for item in made.ReferencedSeriesSequence][1:] == ["2.25.1", "2.25.2"]


def test_equal_input_gives_equal_bytes(source: SourceSeries, run_description: RunDescription) -> None:
    first, again = (to_bytes(made_from(source, run_description)) for _ in range(2))
    assert first == again


def test_negative_zero_is_the_same_map(simulated: SourceSeries, run_description: RunDescription) -> None:
    values = np.zeros(simulated.geometry.shape, np.float32)
    images = susceptibility_series(values, simulated, run_description)
    first, second = (parametric_map(item, images, simulated, run_description) for item in (values, -values))
    assert to_bytes(first) == to_bytes(second)


def test_the_name_says_whose_map_it_is(simulated: SourceSeries, learned_run: RunDescription) -> None:
    values = map_in_ppm(simulated)
    images = susceptibility_series(1000 * values, simulated, learned_run, MapRole.LEARNED)
    made = parametric_map(values, images, simulated, learned_run, MapRole.LEARNED)
    assert made.SeriesDescription == "QSM map learned [ppm] Lodestone 0.1.0 - RESEARCH USE ONLY"


def test_a_product_is_qualified_as_one(simulated: SourceSeries, run_description: RunDescription) -> None:
    assert made_from(simulated, run_description).ContentQualification == "RESEARCH"
    assert made_from(simulated, replace(run_description, research_use_only=False)).ContentQualification == "PRODUCT"


def test_holes_foreign_grids_and_missing_images_are_refused(
    simulated: SourceSeries, run_description: RunDescription
) -> None:
    values = map_in_ppm(simulated)
    images = susceptibility_series(1000 * values, simulated, run_description)
    with pytest.raises(InvalidObject, match="has shape"):
        parametric_map(values[1:], images, simulated, run_description)
    with pytest.raises(InvalidObject, match="6 slices but 5 susceptibility images"):
        parametric_map(values, images[1:], simulated, run_description)
    values[0, 0, 0] = np.inf
    with pytest.raises(InvalidObject, match="NaN or infinity"):
        parametric_map(values, images, simulated, run_description)


def test_dciodvfy_and_our_validation_find_no_error(
    source: SourceSeries, run_description: RunDescription, conformance_errors: Callable[[Dataset], list[str]]
) -> None:
    made = made_from(source, run_description)
    validate(made)
    assert conformance_errors(made) == []
