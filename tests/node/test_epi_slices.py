"""Slices measured one by one become one volume: every slice, in its place, whatever their order of measurement."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from dicom_io.errors import GeometryUnusable, NotFiniteValues, RawHeaderUnusable, RawLinesMissing, UnknownTrajectory
from dicom_io.geometry import Geometry
from dicom_io.kspace.readout_heads import NOISE
from dicom_io.kspace.scan import MULTIBAND, RawScan, Space, imaging_readouts
from dicom_io.kspace.source import geometry_of
from node.kspace_convert import EVENLY_SPACED, TIMELESS, place_images, shown_shape, to_kspace
from node.raw_writer import epi_raw_scan
from pipeline.grid import Grid
from pipeline.operators.centred_fourier import to_image
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.raw_epi import EpiProtocol, MovingSignal, acquire_epi
from pipeline.simulation.raw_scanner import EchoImages
from tests.pipeline.reconstruction.epi_scans import GRID, round_head

DZ, DY, DX = GRID.voxel_size_mm
GAP_MM = 2.0
N_SLICES = 4
FIRST = 1
# So that no slice can stand for another.
BRIGHTNESS = (1.0, 1.4, 0.6, 2.0)
SIDEWAYS = Geometry(
    (1.0, 0.0, 0.0),
    (0.0, 0.8, 0.6),
    (-90.0, -80.0, -70.0),
    (0.0, -0.6 * (DZ + GAP_MM), 0.8 * (DZ + GAP_MM)),
    (DY, DX),
    (N_SLICES, *GRID.shape[1:]),
    "1.2",
)
PROTOCOL = EpiProtocol(n_shots=2, echo_spacing_s=0.5e-3, ramp_s=0.1e-3, snr=math.inf)


def scan_of_slices(protocol: EpiProtocol = PROTOCOL) -> RawScan:
    """Return a scan of four slices, measured in the order 0, 2, 1, 3 and counted as they were measured."""
    head, array = round_head(), birdcage_array(GRID, 4)
    flat = Grid((1, *GRID.shape[1:]), GRID.voxel_size_mm)
    parts = []
    for place in (0, 2, 1, 3):
        chosen = slice(FIRST + place, FIRST + place + 1)
        images = EchoImages(
            BRIGHTNESS[place] * head.scan.images[:, chosen],
            head.scan.echo_times_s,
            3.0,
            flat,
            torch.ones(flat.shape, dtype=torch.bool),
        )
        signal = MovingSignal(images, head.field_hz[chosen], head.r2star_per_s[chosen])
        own = protocol if len(parts) == 0 else replace(protocol, seed=len(parts))
        middle = np.array(SIDEWAYS.first_position) + place * np.array(SIDEWAYS.slice_step)
        where = replace(SIDEWAYS, shape=flat.shape, first_position=tuple(middle.tolist()))
        part = epi_raw_scan(acquire_epi(signal, array[:, chosen], own), images, own, where, {})
        part.heads["idx"]["slice"] = len(parts)
        parts.append(part)
    kept = [
        np.flatnonzero((part.flags & NOISE) == 0) if number else np.arange(part.n_readouts)
        for number, part in enumerate(parts)
    ]
    samples = [part.samples[index] for part, indices in zip(parts, kept, strict=True) for index in indices]
    heads = np.concatenate([part.heads[indices] for part, indices in zip(parts, kept, strict=True)])
    return RawScan(parts[0].header, heads, samples)


@pytest.fixture(scope="module")
def scan() -> RawScan:
    return scan_of_slices()


def volume(scan: RawScan) -> torch.Tensor:
    coils = to_image(to_kspace(scan).kspace.samples)
    return place_images(scan, coils.abs().square().sum(1).sqrt())[0]


def wanted() -> torch.Tensor:
    head = round_head().scan.images[0, FIRST : FIRST + N_SLICES] * torch.tensor(BRIGHTNESS)[:, None, None]
    weight = birdcage_array(GRID, 4)[:, FIRST : FIRST + N_SLICES].abs().square().sum(0).sqrt()
    return head.abs() * weight


@pytest.mark.parametrize("has_navigators", [True, False])
def test_every_slice_is_reconstructed_and_lies_in_its_place(scan: RawScan, has_navigators: bool) -> None:
    given = scan if has_navigators else scan_of_slices(replace(PROTOCOL, has_navigators=False))
    found, truth = volume(given), wanted()
    assert found.shape == truth.shape == shown_shape(given)
    for own, true in zip(found, truth, strict=True):
        assert float((own - true).abs().square().mean().sqrt() / true.max()) < 0.06
    assert float((found - truth.flip(0)).abs().square().mean().sqrt() / truth.max()) > 0.08
    place = geometry_of(given, shown_shape(given), "1.2")
    np.testing.assert_allclose(place.affine_lps, SIDEWAYS.affine_lps, atol=1e-3)
    assert any("4 slices" in note for note in to_kspace(given).notes)


def test_a_stack_whose_axes_are_left_handed_keeps_its_slices_in_place(scan: RawScan) -> None:
    heads = scan.heads.copy()
    heads["slice_dir"] *= -1
    mirrored = RawScan(scan.header, heads, scan.samples)
    place = geometry_of(mirrored, shown_shape(mirrored), "1.2")
    there = np.linalg.inv(SIDEWAYS.affine_lps) @ place.affine_lps
    found, truth = volume(mirrored), wanted()
    for index in range(N_SLICES):
        true = truth[round(float((there @ (0, 0, index, 1))[2]))]
        assert float((found[index] - true).abs().square().mean().sqrt() / true.max()) < 0.06


def changed(scan: RawScan, **changes: object) -> RawScan:
    return RawScan(replace(scan.header, **changes), scan.heads.copy(), list(scan.samples))


def test_what_forbids_a_stack_is_named(scan: RawScan) -> None:
    lost_slice = np.flatnonzero(scan.slice != 3)
    limits = {**scan.header.limits, "slice": replace(scan.header.limits["contrast"], maximum=3)}
    announced = changed(scan, limits=limits)
    lost_line = np.delete(np.arange(scan.n_readouts), imaging_readouts(scan)[20])
    uneven, turned, spoiled = changed(scan), changed(scan), changed(scan)
    uneven.heads["position"][scan.slice == 3] += (0, 0, 5)
    turned.heads["read_dir"][scan.slice == 2], turned.heads["phase_dir"][scan.slice == 2] = (0, 0.8, 0.6), (-1, 0, 0)
    number = int(imaging_readouts(scan)[7])
    spoiled.samples[number] = spoiled.samples[number] * np.nan
    slabs = changed(scan, encoded=Space((2, *scan.header.encoded.shape[1:]), scan.header.encoded.field_of_view_mm))
    several = changed(scan, parameters={**scan.header.parameters, MULTIBAND: 2.0})
    cases = (
        (RawLinesMissing, "has 4 slices, and readouts of 3", subset(announced, lost_slice)),
        (RawLinesMissing, "lines", subset(scan, lost_line)),
        (GeometryUnusable, "equal distances", uneven),
        (GeometryUnusable, "not parallel", turned),
        (GeometryUnusable, "several slabs", slabs),
        (NotFiniteValues, f"Readout {number} ", spoiled),
        (UnknownTrajectory, "measured at once", several),
    )
    for kind, sentence, given in cases:
        with pytest.raises(kind, match=sentence):
            to_kspace(given)


def subset(scan: RawScan, readouts: np.ndarray) -> RawScan:
    return RawScan(scan.header, scan.heads[readouts], [scan.samples[index] for index in readouts])


def test_a_ramp_or_an_echo_spacing_that_is_missing_is_said(scan: RawScan) -> None:
    assert not {EVENLY_SPACED, TIMELESS} & set(to_kspace(scan).notes)
    assert {EVENLY_SPACED, TIMELESS} <= set(to_kspace(changed(scan, parameters={}, echo_spacing_s=None)).notes)


@pytest.mark.parametrize("value", [math.nan, -5.0, "soon"])
def test_a_ramp_that_is_no_time_is_refused(scan: RawScan, value: float | str) -> None:
    with pytest.raises(RawHeaderUnusable, match="states a rampUpTime that is no time"):
        to_kspace(changed(scan, parameters={**scan.header.parameters, "rampUpTime": value}))
