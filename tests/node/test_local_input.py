"""What `lodestone process` is given becomes an acquisition, or a sentence that says what is missing."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_io.read.reader import find_acquisitions
from node.local_input import LabelFiles, NiftiInput, read_dicom, read_label_names, read_nifti
from node.nifti import write_volume
from pipeline.errors import UnusableInput

SHAPE = (18, 20, 22)
AFFINE = np.diag([-1.0, -1.5, 2.0, 1.0])
NO_LABELS = LabelFiles()


@pytest.fixture
def given(tmp_path: Path) -> NiftiInput:
    """Return two echoes as one file each, with echo times and field strength in BIDS JSON files."""
    chance = np.random.default_rng(3)
    phase, magnitude = [], []
    for echo in (1, 2):
        phase.append(tmp_path / f"echo-{echo}_phase.nii.gz")
        magnitude.append(tmp_path / f"echo-{echo}_mag.nii.gz")
        write_volume(phase[-1], chance.uniform(-math.pi, math.pi, SHAPE), AFFINE, "phase")
        write_volume(magnitude[-1], chance.uniform(1, 2, SHAPE), AFFINE, "magnitude")
        stated = {"EchoTime": 0.004 * echo, "MagneticFieldStrength": 3}
        (tmp_path / f"echo-{echo}_phase.json").write_text(json.dumps(stated))
    return NiftiInput(tuple(phase), tuple(magnitude))


def refusal(given: NiftiInput, labels: LabelFiles = NO_LABELS) -> str:
    with pytest.raises(UnusableInput) as caught:
        read_nifti(given, labels, "cpu")
    return str(caught.value)


def test_echo_times_and_field_strength_are_read_beside_the_files(given: NiftiInput) -> None:
    loaded = read_nifti(given, NO_LABELS, "cpu")

    assert loaded.acquisition.echo_times_s == (0.004, 0.008)
    assert loaded.acquisition.b0_tesla == 3
    assert loaded.acquisition.grid.shape == SHAPE
    assert loaded.acquisition.grid.voxel_size_mm == pytest.approx((2.0, 1.5, 1.0))
    assert sum("JSON" in note for note in loaded.facts["notes"]) == 2
    assert len(loaded.files) == 4


def test_what_a_person_states_wins_over_the_json(given: NiftiInput) -> None:
    loaded = read_nifti(replace(given, echo_times_s=(0.005, 0.010), b0_tesla=7.0), NO_LABELS, "cpu")

    assert loaded.acquisition.echo_times_s == (0.005, 0.010)
    assert loaded.acquisition.b0_tesla == 7.0


def test_the_sign_of_the_phase_is_turned_when_asked_and_said_so(given: NiftiInput) -> None:
    as_is = read_nifti(given, NO_LABELS, "cpu")
    turned = read_nifti(replace(given, invert_phase=True), NO_LABELS, "cpu")

    np.testing.assert_array_equal(turned.acquisition.phase.numpy(), -as_is.acquisition.phase.numpy())
    assert any("turned" in note for note in turned.facts["notes"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"echo_times_s": (0.004,)}, "2 phase volumes but 1 echo times"),
        ({"echo_times_s": (4.0, 8.0)}, "write 0.004 0.008"),
        ({"b0_tesla": 300.0}, "300 T"),
        ({"echo_times_s": (0.008, 0.004)}, "must increase"),
    ],
)
def test_impossible_numbers_are_refused_with_what_would_be_right(
    given: NiftiInput, change: dict[str, object], told: str
) -> None:
    assert told in refusal(replace(given, **change))


def test_unknown_echo_times_and_field_strength_name_their_options(given: NiftiInput) -> None:
    for path in given.phase:
        path.with_name(path.name.replace(".nii.gz", ".json")).unlink()

    assert "--echo-times-s" in refusal(given)
    assert "--b0-tesla" in refusal(replace(given, echo_times_s=(0.004, 0.008)))


def test_a_missing_echo_of_one_part_is_refused(given: NiftiInput) -> None:
    assert "2 phase volumes and 1 magnitude" in refusal(replace(given, magnitude=given.magnitude[:1]))


def test_a_mask_and_a_label_map_are_taken_on_the_same_grid_only(given: NiftiInput, tmp_path: Path) -> None:
    labels = np.zeros(SHAPE)
    labels[4:8, 4:8, 4:8] = 2
    write_volume(tmp_path / "labels.nii", labels, AFFINE, "labels")
    write_volume(tmp_path / "elsewhere.nii", labels, AFFINE + np.eye(4)[:, ::-1], "labels")
    (tmp_path / "names.json").write_text('{"2": "putamen left"}')
    files = LabelFiles(tmp_path / "labels.nii", tmp_path / "names.json")

    loaded = read_nifti(replace(given, mask=tmp_path / "labels.nii"), files, "cpu")

    assert loaded.acquisition.mask is not None
    assert int(loaded.acquisition.mask.sum()) == 64
    assert loaded.regions.names == {2: "putamen left"}
    assert "different places" in refusal(given, LabelFiles(tmp_path / "elsewhere.nii"))


@pytest.mark.parametrize("text", ["[1, 2]", '{"left": "putamen"}', "no JSON"])
def test_names_in_another_form_are_refused_with_an_example(tmp_path: Path, text: str) -> None:
    path = tmp_path / "names.json"
    path.write_text(text)

    with pytest.raises(UnusableInput, match="putamen left"):
        read_label_names(path)


@pytest.mark.golden
def test_philips_as_dicom_and_as_nifti_is_the_same_acquisition(data_dir: Path) -> None:
    folder = data_dir / "philips_ingenia_571_2echo_gre"
    (found,) = find_acquisitions(folder / "classic")
    converted = sorted((folder / "dcm2niix_ref").glob("*_cl_e?.nii.gz"))
    phase = tuple(path.with_name(path.name.replace(".nii.gz", "_ph.nii.gz")) for path in converted)

    dicom = read_dicom(found, NO_LABELS, None, "cpu")
    nifti = read_nifti(NiftiInput(phase, tuple(converted)), NO_LABELS, "cpu")

    assert nifti.acquisition.echo_times_s == pytest.approx(dicom.acquisition.echo_times_s)
    assert nifti.acquisition.b0_tesla == dicom.acquisition.b0_tesla
    # dcm2niix turns image rows; the array and the affine must say the same about every voxel.
    flipped = dicom.acquisition.phase.flip(2).numpy()
    candidates = [flipped, dicom.acquisition.phase.flip(2, 3).numpy(), dicom.acquisition.phase.numpy()]
    difference = min(float(np.abs(nifti.acquisition.phase.numpy() - one).max()) for one in candidates)
    assert difference < 1e-3
    assert np.abs(nifti.acquisition.grid.b0_direction) == pytest.approx(
        np.abs(dicom.acquisition.grid.b0_direction), abs=1e-4
    )


@pytest.mark.golden
def test_a_dicom_input_is_identified_by_its_datasets_not_by_its_files(data_dir: Path, tmp_path: Path) -> None:
    (source,) = (data_dir / "philips_ingenia_571_2echo_gre" / "enhanced").glob("*phMag.dcm")
    content = source.read_bytes()
    other_preamble = tmp_path / "other.dcm"
    other_preamble.write_bytes(b"\1" * 128 + content[128:])
    (first,), (second,) = find_acquisitions(source.parent)[:1], find_acquisitions(tmp_path)

    one, two = (read_dicom(found, NO_LABELS, None, "cpu") for found in (first, second))

    assert one.digests == two.digests
    assert [file.sha256 for file in one.files] != [file.sha256 for file in two.files]
