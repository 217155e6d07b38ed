"""The same head through every scanner: files in, susceptibility out, encoded again, and judged against the truth.

The head is oblique and its voxels have three different edges. Whatever the manufacturer, a paramagnetic nucleus must
come out positive, and the maps may differ by no more than the rounding of stored values allows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from dicom_io.read.reader import read_echo_series
from dicom_io.series import EchoSeries
from dicom_io.write.mr_image import susceptibility_series
from dicom_io.write.part10 import to_bytes
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.table import FLAVOURS
from dicom_io.write.validation import validate
from node.convert import to_acquisition, to_ppb
from node.demo import geometry_of
from pipeline.recipe import Recipe, builtin_recipe_text, parse_recipe
from pipeline.run import run
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.scanner import Protocol, SimulatedScan, acquire
from tests.run_descriptions import described

pytestmark = pytest.mark.golden
OBLIQUE = Protocol(
    shape=(32, 40, 32),
    voxel_size_mm=(4.1, 5.1, 5.6),
    echo_times_s=(0.004, 0.010, 0.016),
    rotation_deg=(18.0, -9.0, 5.0),
    finest_mm=2.5,
    snr=80.0,
)
BIPOLAR_CORRECTION = '\n[bipolar_correction]\nmethod = "linear"\n'
NUCLEI = ("caudate nucleus", "putamen", "globus pallidus externus", "globus pallidus internus", "dentate nucleus")
# The other flavours give the arrays of one of these, to the bit or to rounding: tests/dicom_io/write/test_scanners.py.
MAPPED = (
    "siemens_classic",
    "ge_alternating_slices",
    "philips_real_and_imaginary",
    "philips_enhanced",
    "united_imaging_classic",
    "canon_classic",
)
BIPOLAR = ("ge_alternating_slices",)


@cache
def head() -> SimulatedScan:
    """Return the simulated examination and the truth behind it."""
    return acquire(adult_head(), OBLIQUE)


@cache
def recipe(is_bipolar: bool) -> Recipe:
    """Return the default recipe, with the correction of a bipolar readout where asked for."""
    return parse_recipe(builtin_recipe_text("default") + (BIPOLAR_CORRECTION if is_bipolar else ""))


@cache
def scan(is_bipolar: bool) -> Scan:
    """Return the head's images as a scanner has them; the even echoes of a bipolar readout carry a ramp along x."""
    simulated = head()
    phase = simulated.acquisition.phase.numpy().astype(float)
    if is_bipolar:
        phase[1::2] += 0.4 + np.linspace(-0.6, 0.6, phase.shape[-1])
    return Scan(
        magnitude=simulated.acquisition.magnitude.numpy(),
        phase=phase,
        echo_times_s=OBLIQUE.echo_times_s,
        geometry=geometry_of(simulated),
        magnetic_field_strength_t=OBLIQUE.b0_tesla,
    )


@pytest.fixture(scope="module")
def read_as(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], EchoSeries]:
    """Return the function that sends the scan in a flavour and reads it again, once per flavour and polarity."""

    @cache
    def read(flavour: str, is_bipolar: bool) -> EchoSeries:
        folder = tmp_path_factory.mktemp(flavour)
        paths = []
        for number, image in enumerate(FLAVOURS[flavour](scan(is_bipolar))):
            paths.append(folder / f"{number:04d}.dcm")
            paths[-1].write_bytes(to_bytes(image))
        return read_echo_series(paths)

    return read


@dataclass(frozen=True)
class Mapped:
    """A susceptibility map [ppb] and the voxels that it covers."""

    susceptibility: np.ndarray
    mask: np.ndarray

    def of(self, nucleus: str) -> float:
        """Return the mean of a nucleus, left and right."""
        labels = head().labels.numpy()
        numbers = [number for number, name in head().label_names.items() if nucleus in name]
        return float(self.susceptibility[np.isin(labels, numbers)].mean())


def mapped(series: EchoSeries, is_bipolar: bool) -> Mapped:
    maps, _ = run(to_acquisition(series), recipe(is_bipolar))
    return Mapped(to_ppb(maps.susceptibility.numpy()), maps.mask.numpy())


@cache
def mapped_truth(is_bipolar: bool) -> Mapped:
    """Return the map of the images as they were before any scanner rounded them."""
    wrapped = np.angle(np.exp(1j * scan(is_bipolar).phase)).astype(np.float32)
    maps, _ = run(replace(head().acquisition, phase=torch.from_numpy(wrapped)), recipe(is_bipolar))
    return Mapped(to_ppb(maps.susceptibility.numpy()), maps.mask.numpy())


def require_same_map(found: Mapped, expected: Mapped) -> None:
    both = found.mask & expected.mask
    assert (found.mask != expected.mask).mean() < 1e-3
    off = np.abs(found.susceptibility - expected.susceptibility)[both]
    assert np.sqrt((off**2).mean()) < 3.0
    for nucleus in NUCLEI:
        assert found.of(nucleus) == pytest.approx(expected.of(nucleus), abs=2.0)
        assert found.of(nucleus) > 15.0


@pytest.mark.parametrize("flavour", MAPPED)
def test_every_scanner_gives_the_same_map_and_paramagnetic_nuclei_are_positive(
    flavour: str, read_as: Callable[[str, bool], EchoSeries]
) -> None:
    require_same_map(mapped(read_as(flavour, False), False), mapped_truth(False))


@pytest.mark.parametrize("flavour", BIPOLAR)
def test_a_bipolar_readout_gives_the_same_map_in_every_vendor_s_files(
    flavour: str, read_as: Callable[[str, bool], EchoSeries]
) -> None:
    require_same_map(mapped(read_as(flavour, True), True), mapped_truth(True))


@pytest.mark.parametrize("flavour", MAPPED)
def test_a_map_of_every_vendor_becomes_valid_objects_in_its_source_s_place(
    flavour: str, read_as: Callable[[str, bool], EchoSeries]
) -> None:
    source = read_as(flavour, False).source
    made = susceptibility_series(np.zeros(OBLIQUE.shape), source, described())
    for image in made:
        validate(image)
    assert {image.FrameOfReferenceUID for image in made} == {scan(False).geometry.frame_of_reference_uid}
    assert {image.StudyInstanceUID for image in made} == {source.template.StudyInstanceUID}
