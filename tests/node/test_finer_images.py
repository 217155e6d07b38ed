"""Super-resolution of raw data: finer images lie where the measured ones do, and those are kept beside them."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from dicom_io.kspace.raw_data import PayloadFormat, RawPayload
from dicom_io.kspace.scan import RawScan
from node.kspace_convert import geometry_of_images
from node.local_run import map_locally
from node.raw_input import RawFile, local_input, write_images
from node.reconstruction import reconstruct_scan
from pipeline.errors import UnusableInput
from pipeline.networks.super_resolution import SuperResolution
from pipeline.recipe import Recipe, builtin_recipe_text, parse_recipe
from tests.node.raw_streams import raw_ball
from tests.node.test_epi_slices import scan_of_slices


@pytest.fixture
def adding_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the network add nothing, so that every check is passed."""
    network = SuperResolution()
    monkeypatch.setattr("pipeline.reconstruction.super_resolution.load_network", lambda *_, **__: network)


def recipe() -> Recipe:
    start, _, rest = builtin_recipe_text("v_sharp_tv").partition("[dipole_inversion]")
    following = rest[rest.index("\n[") :]
    images = '[reconstruction]\nmethod = "zero_filled"\n[super_resolution]\nmethod = "super_resolution"\n'
    return parse_recipe(f'{start}[dipole_inversion]\nmethod = "tkd"\n{following}\n{images}')


def raw_file(scan: RawScan, tmp_path: Path) -> RawFile:
    from_file = tmp_path / "scan.h5"
    from_file.write_bytes(b"scan")
    return RawFile(from_file, scan, RawPayload(PayloadFormat.ISMRMRD_FILE, "0" * 64, 4), None)


def test_finer_images_lie_where_the_measured_ones_do(adding_nothing: None, tmp_path: Path) -> None:
    scan = raw_ball()
    made = reconstruct_scan(scan, recipe())
    measured = geometry_of_images(scan, "")
    assert made.measured_geometry == measured
    assert made.geometry.shape == tuple(2 * size for size in measured.shape)
    for z, y, x in ((0, 0, 0), (5, 9, 11), (15, 31, 31)):
        there = made.geometry.affine_lps @ (2 * x, 2 * y, 2 * z, 1)
        np.testing.assert_allclose(there, measured.affine_lps @ (x, y, z, 1), atol=1e-6)
    coarse, fine = made.companions["measured_magnitude"], made.magnitude[:, ::2, ::2, ::2]
    assert np.abs(fine - coarse).max() < 0.02 * coarse.max()
    assert any("Finer images were made with the weights" in note for note in made.notes)
    files = {one["path"] for one in write_images(made, raw_file(scan, tmp_path), tmp_path / "out")}
    assert {"measured_magnitude.nii.gz", "measured_phase.nii.gz"} <= files
    own, beside = (nibabel.load(tmp_path / "out" / f"{name}.nii.gz") for name in ("magnitude", "measured_magnitude"))
    np.testing.assert_allclose(own.header.get_zooms()[:3], [1.0, 1.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(beside.header.get_zooms()[:3], [2.0, 2.0, 2.0], atol=1e-5)


def test_maps_of_finer_images_have_their_grid_and_say_whose_detail_it_is(adding_nothing: None, tmp_path: Path) -> None:
    scan = raw_ball()
    made = reconstruct_scan(scan, recipe(), frame_of_reference_uid="2.25.7702")
    given = local_input(raw_file(scan, tmp_path), made, "cpu")
    summary = map_locally(given, recipe(), tmp_path / "maps", lambda step, share: None)
    assert summary["acquisition"]["shape_zyx"] == [32, 64, 64]
    assert summary["recipe"]["steps"]["super_resolution"]["method"] == "super_resolution"
    assert any("the detail beyond that is the network's" in one["sentence"] for one in summary["findings"])


def test_the_stored_network_is_labelled_as_far_as_it_is_trained() -> None:
    made = reconstruct_scan(raw_ball(), recipe())
    (label,) = [one for one in made.findings if one.name == "super_resolution_training"]
    assert "super_resolution, which is" in label.sentence
    is_finer = made.geometry.shape != made.measured_geometry.shape
    assert is_finer is not any(one.is_warning for one in made.findings if one.name == "super_resolution_source")
    assert is_finer is ("measured_magnitude" in made.companions)


def test_slices_measured_one_by_one_are_refused() -> None:
    with pytest.raises(UnusableInput, match="is for volumes"):
        reconstruct_scan(scan_of_slices(), recipe())


def test_images_of_another_shape_have_no_place() -> None:
    with pytest.raises(UnusableInput, match="not those of this scan"):
        geometry_of_images(raw_ball(), "", torch.Size((3, 3, 3)))
