"""A label map is used where its voxels are those of the series, and nowhere else."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from node.errors import InvalidSettings
from node.region_labels import labels_on_grid
from tests.node.scans import geometry

LABELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6) % 7


def save(path: Path, labels: np.ndarray = LABELS, shift_mm: float = 0.0, dtype: type = np.int16) -> Path:
    affine = geometry(LABELS.shape).affine_ras.copy()
    affine[0, 3] += shift_mm
    nibabel.save(nibabel.Nifti1Image(labels.T.astype(dtype), affine), path)
    return path


def test_labels_come_back_in_the_order_of_slices_rows_and_columns(tmp_path: Path) -> None:
    labels, sentence = labels_on_grid(save(tmp_path / "labels.nii.gz"), geometry(LABELS.shape))
    np.testing.assert_array_equal(labels, LABELS)
    assert "labels.nii.gz" in sentence


def test_a_label_map_at_another_place_is_not_used(tmp_path: Path) -> None:
    labels, sentence = labels_on_grid(save(tmp_path / "labels.nii", shift_mm=1.0), geometry(LABELS.shape))
    assert labels is None
    assert "another grid" in sentence


def test_a_label_map_of_another_shape_is_not_used(tmp_path: Path) -> None:
    labels, _ = labels_on_grid(save(tmp_path / "labels.nii"), geometry((4, 5, 7)))
    assert labels is None


def test_an_image_is_no_label_map(tmp_path: Path) -> None:
    path = save(tmp_path / "map.nii", LABELS + 0.5, dtype=np.float32)
    with pytest.raises(InvalidSettings, match="whole numbers"):
        labels_on_grid(path, geometry(LABELS.shape))


def test_a_file_that_is_no_nifti_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.nii"
    path.write_text("labels")
    with pytest.raises(InvalidSettings, match=r"labels\.nii"):
        labels_on_grid(path, geometry(LABELS.shape))
