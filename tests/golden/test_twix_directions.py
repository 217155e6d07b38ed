"""What the twix files of a real phantom prove: which way is up, by its air, and which way phase turns, by its field."""

from pathlib import Path

import numpy as np
import pytest

from dicom_io.kspace.scan import RawScan
from dicom_io.kspace.source import geometry_of
from dicom_io.kspace.twix import read_twix
from node.kspace_convert import place_images, shown_shape, to_kspace
from pipeline.operators.centred_fourier import to_image

pytestmark = pytest.mark.golden
SCANS = "kspace_siemens_skyra_twix"
RADIUS_MM, HALF_LENGTH_MM = 95.0, 74.0
AIR_PPM, WATER_PPM = 0.36, -9.05
ECHO_TIMES_S = (0.003, 0.027)
HZ_PER_PPM = 42.577 * 2.89362
GRID, STEP_MM = 128, 2.5


@pytest.fixture(scope="module")
def gradient(data_dir: Path) -> RawScan:
    return read_twix(data_dir / SCANS / "gre.dat")


def test_the_air_in_the_phantom_lies_on_top(gradient: RawScan) -> None:
    coils = to_image(to_kspace(gradient, needs_noise=False).kspace.samples)
    image = place_images(gradient, coils.abs().square().sum(1).sqrt())[0, 0].numpy()
    place = geometry_of(gradient, shown_shape(gradient), "1.2")
    bright = image > 0.3 * np.quantile(image, 0.9)
    rows = np.flatnonzero(bright.any(axis=1))
    extents = [int(np.ptp(np.flatnonzero(bright[row]))) for row in (rows[3], rows[-4])]
    assert gradient.header.patient_position == "HFS"
    assert place.column_direction[1] < -0.99
    # Rows grow towards anterior: head first and supine that is up, and there a flat surface cuts the circle off.
    assert extents[1] > 1.5 * extents[0]


def field_of_the_phantom(depth_mm: float) -> np.ndarray:
    """Return the field [ppm] in the slice `(y, x)` of a lying cylinder of water with air on top, towards +y.

    `depth_mm` is by how much the phantom's middle lies above the slice.
    """
    axis = (np.arange(GRID) - GRID // 2) * STEP_MM
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    is_water = (x**2 + (y - 5.0) ** 2 < RADIUS_MM**2) & (np.abs(z - depth_mm) < HALF_LENGTH_MM) & (y < 84.0)
    k = np.fft.fftfreq(GRID)
    squares = [part**2 for part in np.meshgrid(k, k, k, indexing="ij")]
    total = sum(squares)
    total[0, 0, 0] = np.inf
    spectrum = np.fft.fftn(np.where(is_water, WATER_PPM, AIR_PPM)) * (1 / 3 - squares[0] / total)
    spectrum[0, 0, 0] = 0
    middle = slice(GRID // 2 - 40, GRID // 2 + 40)
    return np.fft.ifftn(spectrum).real[GRID // 2, middle, middle]


def coherence(product: np.ndarray, water: np.ndarray, phase: np.ndarray) -> float:
    """Return how well phase and a shim of second order explain the angle of `product` in water: 1 is wholly."""
    left = product * np.exp(-1j * phase)
    v, u = np.meshgrid((np.arange(80) - 40) / 40, (np.arange(80) - 40) / 40, indexing="ij")
    shims = np.stack([u, v, u * v, u**2, v**2])
    pairs = (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1))))
    steps, turns = [], []
    for one, other in pairs:
        inside = water[one] & water[other]
        steps.append((shims[:, *one] - shims[:, *other])[:, inside].T)
        turns.append(np.angle(left[one] * left[other].conj())[inside])
    matrix, values = np.concatenate(steps), np.concatenate(turns)
    weight = np.ones_like(values)
    for _ in range(6):
        found = np.linalg.lstsq(matrix * weight[:, None], values * weight, rcond=None)[0]
        rest = values - matrix @ found
        weight = 1 / (1 + (rest / (1.5 * np.median(np.abs(rest)))) ** 2)
    flat = np.exp(1j * (np.angle(left) - np.tensordot(found, shims, 1)))
    return float(np.abs(flat[water].mean()))


def test_the_phase_grows_with_the_field_of_the_phantom(gradient: RawScan, data_dir: Path) -> None:
    planar = to_kspace(read_twix(data_dir / SCANS / "epi.dat"), needs_noise=False).kspace
    fine = to_kspace(gradient, needs_noise=False).kspace
    coarse = to_image(fine.samples[..., 40:120, 40:120])[0, :, 0]
    # Coils cancel: what is left turned between the two echo times.
    product = (to_image(planar.samples)[0, :, 0] * coarse.conj()).sum(0).numpy()
    water = np.abs(product) > 0.2 * np.quantile(np.abs(product), 0.9)
    turn = 2 * np.pi * HZ_PER_PPM * (ECHO_TIMES_S[1] - ECHO_TIMES_S[0])
    field = field_of_the_phantom(40.0)
    # How deep the slice cuts the phantom is not known to the millimetre; some of the field is the shim's.
    growing, falling = (
        max(coherence(product, water, sign * share * turn * field) for share in (0.7, 1.0)) for sign in (1, -1)
    )
    assert growing > 0.7
    assert falling < 0.3
