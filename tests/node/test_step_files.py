"""A step's files have QSM-CI's names and units, and what is missing is asked for by option and by file name."""

import json
import math
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from node.commands.step import choose, inputs_of
from node.nifti import read_volume, write_volume
from node.step_files import StepFiles, file_name, named_files, parse_settings, read_step_input, write_artefacts
from pipeline.errors import InvalidRecipe, UnknownMethod, UnusableInput

SHAPE = (5, 6, 7)


@pytest.fixture
def qsm_ci(tmp_path: Path) -> Path:
    """Return a folder as QSM-CI mounts it."""
    chance = np.random.default_rng(5)
    write_volume(tmp_path / "localfield.nii.gz", chance.normal(size=SHAPE), np.eye(4), "ppm")
    write_volume(tmp_path / "mask.nii.gz", np.ones(SHAPE, dtype=bool), np.eye(4), "mask")
    write_volume(tmp_path / "phase.nii.gz", chance.uniform(-1, 1, (2, *SHAPE)), np.eye(4), "rad")
    write_volume(tmp_path / "magnitude.nii.gz", chance.uniform(1, 2, (2, *SHAPE)), np.eye(4), "magnitude")
    parameters = {"contract": "v2", "TE": [0.004, 0.012], "B0": 7.0, "B0_dir": [0.0, 0.6, 0.8], "voxel_size": [1, 1, 1]}
    (tmp_path / "params.json").write_text(json.dumps(parameters))
    return tmp_path


def test_a_folder_of_qsm_ci_is_read_with_its_parameters(qsm_ci: Path) -> None:
    loaded = read_step_input(
        StepFiles(folder=qsm_ci), ["local_field", "mask", "phase"], ["magnitude", "quality"], "cpu"
    )

    assert set(loaded.artefacts) == {"local_field", "mask", "phase", "magnitude"}
    assert loaded.artefacts["mask"].dtype == torch.bool
    assert loaded.artefacts["phase"].shape == (2, *SHAPE)
    assert loaded.artefacts["local_field"].shape == SHAPE
    assert loaded.echo_times_s == (0.004, 0.012)
    assert loaded.b0_tesla == 7.0
    assert loaded.grid.b0_direction == pytest.approx((0.8, 0.6, 0.0))


def test_phase_within_pi_is_radians_as_the_contract_says(qsm_ci: Path) -> None:
    loaded = read_step_input(StepFiles(folder=qsm_ci), ["phase"], [], "cpu")

    np.testing.assert_array_equal(loaded.artefacts["phase"].numpy(), read_volume(qsm_ci / "phase.nii.gz").values)


def test_a_phase_beyond_pi_is_scaled_by_its_convention(tmp_path: Path) -> None:
    phase = np.random.default_rng(6).uniform(-math.pi, math.pi, SHAPE).astype(np.float32)
    write_volume(tmp_path / "p.nii", np.rint(phase * 4096 / math.pi).clip(-4096, 4095), np.eye(4), "phase")

    loaded = read_step_input(StepFiles({"phase": (tmp_path / "p.nii",)}), ["phase"], [], "cpu")

    np.testing.assert_allclose(loaded.artefacts["phase"][0].numpy(), phase, atol=1e-3)


def test_named_files_win_over_the_folder(qsm_ci: Path) -> None:
    other = qsm_ci / "other.nii"
    write_volume(other, np.full(SHAPE, 2.0), np.eye(4), "ppm")

    loaded = read_step_input(StepFiles({"local_field": (other,)}, folder=qsm_ci), ["local_field"], [], "cpu")

    assert float(loaded.artefacts["local_field"].mean()) == 2.0


def test_a_missing_artefact_is_asked_for_by_option_and_by_file(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match=r"--local-field --mask.*localfield\.nii\.gz, mask\.nii\.gz"):
        read_step_input(StepFiles(), ["local_field", "mask"], [], "cpu")


def test_echoes_must_be_as_many_as_echo_times(qsm_ci: Path) -> None:
    with pytest.raises(UnusableInput, match="3 echo times"):
        read_step_input(StepFiles(folder=qsm_ci, echo_times_s=(0.001, 0.002, 0.003)), ["phase"], [], "cpu")


def test_broken_parameters_are_named(qsm_ci: Path) -> None:
    (qsm_ci / "params.json").write_text('{"TE": "soon"}')

    with pytest.raises(UnusableInput, match=r"params\.json"):
        read_step_input(StepFiles(folder=qsm_ci), ["mask"], [], "cpu")


def test_results_have_the_contracts_names(tmp_path: Path) -> None:
    paths = write_artefacts(tmp_path, {"susceptibility": torch.ones(SHAPE)}, ["susceptibility"], np.eye(4))

    assert [path.name for path in paths] == ["chimap.nii.gz"]
    assert [file_name(name) for name in ("total_field", "local_field", "mask", "r2star")] == [
        "totalfield.nii.gz",
        "localfield.nii.gz",
        "mask.nii.gz",
        "r2star.nii.gz",
    ]


def test_settings_are_written_as_in_a_recipe() -> None:
    words = ["threshold=0.2", "name=ball", "fill=true", "radii=[3.0, 5.0]"]

    assert parse_settings(words) == {"threshold": 0.2, "name": "ball", "fill": True, "radii": [3.0, 5.0]}
    with pytest.raises(InvalidRecipe, match="--set NAME=VALUE"):
        parse_settings(["threshold"])


def test_a_stage_of_several_steps_needs_only_what_comes_from_outside() -> None:
    chain = choose("field-mapping", None, [])
    needed, _ = inputs_of(chain)

    assert [step for step, _, _ in chain] == ["phase_offset_removal", "phase_unwrapping", "echo_combination"]
    assert sorted(needed) == ["magnitude", "mask", "phase"]
    with pytest.raises(UnknownMethod, match="one step at a time"):
        choose("field-mapping", "romeo", [])


def test_a_stage_of_one_step_is_that_step() -> None:
    ((step, way, values),) = choose("dipole", "tkd", ["threshold=0.3"])

    assert (step, way.name, values.threshold) == ("dipole_inversion", "tkd", 0.3)


def test_inputs_are_named_by_artefact_in_both_spellings_and_once_per_echo() -> None:
    files = named_files(["phase=e1.nii", "phase=e2.nii", "total-field=f.nii", "localfield=l.nii"])

    assert files["phase"] == (Path("e1.nii"), Path("e2.nii"))
    assert files["total_field"] == (Path("f.nii"),)
    assert files["local_field"] == (Path("l.nii"),)


@pytest.mark.parametrize(("word", "hint"), [("localfeld=l.nii", "local_field"), ("mask", "--in NAME=FILE")])
def test_a_misspelt_input_is_refused_with_the_right_spelling(word: str, hint: str) -> None:
    with pytest.raises(UnusableInput, match=hint):
        named_files([word])


def test_an_output_that_is_a_file_name_takes_the_map_and_the_rest_lies_beside_it(tmp_path: Path) -> None:
    artefacts = {"susceptibility": torch.ones(SHAPE), "local_field": torch.zeros(SHAPE)}

    paths = write_artefacts(tmp_path / "chi.nii", artefacts, artefacts, np.eye(4))

    assert [path.name for path in paths] == ["chi.nii", "chi_localfield.nii.gz"]
    assert float(read_volume(paths[0]).values.mean()) == 1.0


def test_fields_in_hertz_become_ppm(qsm_ci: Path) -> None:
    in_hz = StepFiles(folder=qsm_ci, fields_in_hz=True)

    loaded = read_step_input(in_hz, ["local_field", "mask"], [], "cpu")

    stored = read_volume(qsm_ci / "localfield.nii.gz").values[0]
    np.testing.assert_allclose(loaded.artefacts["local_field"].numpy() * 42.577478518 * 7.0, stored, rtol=1e-5)


def test_fields_in_hertz_need_the_field_strength(tmp_path: Path) -> None:
    write_volume(tmp_path / "f.nii", np.ones(SHAPE), np.eye(4), "Hz")

    with pytest.raises(UnusableInput, match="--b0-tesla"):
        read_step_input(
            StepFiles({"local_field": (tmp_path / "f.nii",)}, fields_in_hz=True), ["local_field"], [], "cpu"
        )


def test_coils_are_the_last_axis_of_one_file_or_of_a_file_per_echo(tmp_path: Path) -> None:
    coils = np.random.default_rng(3).normal(size=(2, 3, *SHAPE)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(coils.transpose(4, 3, 2, 0, 1), np.eye(4)), tmp_path / "all.nii")
    for echo in range(2):
        write_volume(tmp_path / f"echo{echo}.nii", coils[echo], np.eye(4), "coils")

    times = (0.004, 0.008)
    at_once = StepFiles({"coil_magnitude": (tmp_path / "all.nii",)}, echo_times_s=times)
    by_echo = StepFiles({"coil_magnitude": (tmp_path / "echo0.nii", tmp_path / "echo1.nii")}, echo_times_s=times)

    for given in (at_once, by_echo):
        loaded = read_step_input(given, ["coil_magnitude"], [], "cpu")
        np.testing.assert_array_equal(loaded.artefacts["coil_magnitude"].numpy(), coils)


def test_every_head_orientation_needs_its_direction_of_b0(tmp_path: Path) -> None:
    write_volume(tmp_path / "fields.nii", np.ones((2, *SHAPE)), np.eye(4), "ppm")
    directions = ((0.0, 0.0, 1.0), (0.0, 3.0, 4.0))

    given = StepFiles({"local_fields": (tmp_path / "fields.nii",)}, b0_directions=directions)
    loaded = read_step_input(given, ["local_fields"], [], "cpu")

    assert loaded.artefacts["local_fields"].shape == (2, *SHAPE)
    assert loaded.b0_directions == (pytest.approx((1.0, 0.0, 0.0)), pytest.approx((0.8, 0.6, 0.0)))
    with pytest.raises(UnusableInput, match="2 head orientations and 1"):
        read_step_input(replace(given, b0_directions=directions[:1]), ["local_fields"], [], "cpu")


@pytest.mark.parametrize("direction", [(0.0, 0.0, 0.0), (float("nan"), 0.0, 1.0)])
def test_a_direction_without_length_is_refused(qsm_ci: Path, direction: tuple[float, float, float]) -> None:
    with pytest.raises(UnusableInput, match="has no length"):
        read_step_input(StepFiles(folder=qsm_ci, b0_directions=(direction,)), ["mask"], [], "cpu")


def test_a_field_of_several_volumes_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "f.nii", np.ones((2, *SHAPE)), np.eye(4), "ppm")

    with pytest.raises(UnusableInput, match="holds 2 volumes"):
        read_step_input(StepFiles({"local_field": (tmp_path / "f.nii",)}), ["local_field"], [], "cpu")
