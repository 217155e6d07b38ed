"""The test series has its known values at its known places in the patient, and no patient of a hospital in it."""

from datetime import date

import numpy as np

from dicom_io.series import SourceSeries
from dicom_io.write.commissioning import (
    BLOCK_PPB,
    LETTER_PPB,
    N_END_SLICES,
    PATIENT_ID,
    SHAPE,
    SQUARES,
    block_mask,
    commissioning_geometry,
    commissioning_images,
    commissioning_run,
    commissioning_source,
    known_map_ppb,
    square_labels,
)
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes

DAY = date(2026, 11, 21)


def source(seed: str = "one") -> SourceSeries:
    return commissioning_source(commissioning_images(seed, DAY), seed)


def drawn(values: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    return values[rows, columns] == LETTER_PPB


def test_every_square_holds_its_value_alone_in_every_slice() -> None:
    values, labels = known_map_ppb(), square_labels()
    assert sorted(square.value_ppb for square in SQUARES) == [-200, 0, 100, 200]
    for square in SQUARES:
        assert np.unique(values[labels == square.number]).tolist() == [square.value_ppb]
        assert all((image == square.number).sum() == 36 * 36 for image in labels)


def test_around_the_squares_are_the_block_and_letters_only_and_outside_it_nothing() -> None:
    values, block = known_map_ppb(), block_mask()
    between = values[block & (square_labels() == 0)]
    assert set(np.unique(between)) == {BLOCK_PPB, LETTER_PPB}
    assert (between == LETTER_PPB).mean() < 0.05
    assert not values[~block].any()


def test_squares_lie_where_their_names_say_in_the_patient() -> None:
    affine, labels = commissioning_geometry("one").affine_lps, square_labels()
    for square in SQUARES:
        z, y, x = np.argwhere(labels == square.number).mean(axis=0)
        left, back, head = (affine @ (x, y, z, 1))[:3]
        assert (left > 0) == (square.side == "left")
        assert (back > 0) == (square.end == "posterior")
        np.testing.assert_allclose((left, back, head), (*square.centre_mm, 0), atol=1e-9)


def test_no_letter_reads_the_same_when_the_image_is_mirrored_or_turned() -> None:
    values = known_map_ppb()[5]
    right = drawn(values, slice(89, 103), slice(20, 30))
    left = drawn(values, slice(89, 103), slice(162, 172))
    front = drawn(values, slice(20, 34), slice(91, 101))
    assert right.any()
    assert left.any()
    assert front.any()
    assert not np.array_equal(right, left[:, ::-1])
    assert not np.array_equal(right, right[:, ::-1])
    assert not np.array_equal(front, front[::-1])
    for turned in (np.rot90(values), values[::-1], values[:, ::-1], values[::-1, ::-1]):
        assert not np.array_equal(turned, values)


def test_every_slice_has_its_own_number_and_the_ends_their_own_letter() -> None:
    values = known_map_ppb()
    assert len({image[89:103, 84:108].tobytes() for image in values}) == SHAPE[0]
    ends = [image[56:70, 91:101] for image in values]
    feet, head = ends[0], ends[-1]
    assert not np.array_equal(feet, head)
    assert all(np.array_equal(image, feet) for image in ends[:N_END_SLICES])
    assert all(np.array_equal(image, head) for image in ends[-N_END_SLICES:])
    assert all((image == BLOCK_PPB).all() for image in ends[N_END_SLICES:-N_END_SLICES])


def test_slice_one_is_nearest_the_feet() -> None:
    geometry = commissioning_geometry("one")
    assert geometry.position(0)[2] < geometry.position(SHAPE[0] - 1)[2]


def test_the_patient_is_clearly_no_patient() -> None:
    images = commissioning_images("one", DAY)
    assert {str(image.PatientID) for image in images} == {PATIENT_ID}
    assert {str(image.PatientName) for image in images} == {"QA^Lodestone"}
    assert len(images) == SHAPE[0] == images[0].ImagesInAcquisition


def test_the_map_written_by_the_writer_of_every_map_stores_the_numbers_themselves() -> None:
    run = commissioning_run("one", DAY, "0.1.0", "rev", "LODESTONE")
    images = susceptibility_series(known_map_ppb(), source(), run)
    stored = np.stack([np.frombuffer(image.PixelData, "<i2").reshape(SHAPE[1:]) for image in images])
    np.testing.assert_array_equal(stored, known_map_ppb())
    assert "Nothing was measured" in images[0].DerivationDescription


def test_equal_seed_and_day_make_equal_bytes_and_another_seed_another_study() -> None:
    first, second, other = (commissioning_images(seed, DAY) for seed in ("one", "one", "two"))
    assert [to_bytes(image) for image in first] == [to_bytes(image) for image in second]
    assert first[0].StudyInstanceUID != other[0].StudyInstanceUID
    assert first[0].FrameOfReferenceUID != other[0].FrameOfReferenceUID


def test_the_pyramid_points_to_the_head_in_every_view_across_the_slices() -> None:
    values = known_map_ppb()
    for cut in (values[:, 130, 80:112], values[:, 114:146, 96]):
        widths = (cut == LETTER_PPB).sum(axis=1).tolist()
        assert widths == sorted(widths, reverse=True)
        assert widths[0] > 8 * widths[-1] > 0
        assert not np.array_equal(cut, cut[::-1])
