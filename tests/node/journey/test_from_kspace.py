"""K-space travels like images: assembled, reconstructed, mapped and encoded, into the study that it names."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest

from db import artefacts, instances, outputs, runs, series
from db.base import now
from db.series import State
from dicom_io.errors import (
    CalibrationMissing,
    NoiseMissing,
    NotFiniteValues,
    RawHeaderUnusable,
    RawLinesMissing,
    UnknownRawData,
    UnknownTrajectory,
)
from dicom_io.kspace.mrd_messages import stream_of
from dicom_io.kspace.overrides import Overrides
from dicom_io.kspace.raw_data import CREATOR_VERSION_UID, PayloadFormat, RawPayload, raw_data_object
from dicom_io.kspace.readout_heads import NOISE
from dicom_io.kspace.scan import RawScan, Space
from node.app import build_services_from_file
from node.journey import assembled, encoded, mapped, received, reconstructed
from node.journey.assembled import ACQUISITION
from node.kspace_intake import admit
from node.services import Services
from tests.node import scans
from tests.node.raw_streams import IDENTITY, raw_ball

OBJECTS = '[output]\nobjects = ["susceptibility", "segmentation", "report"]\n'


@pytest.fixture
def site(node_toml: Callable[..., Path]) -> Iterator[Services]:
    built = build_services_from_file(node_toml(more=OBJECTS))
    yield built
    built.close()


def admitted(services: Services, scan: RawScan, overrides: Overrides | None = None) -> str:
    with services.kspace.receive(PayloadFormat.MRD_STREAM) as arriving:
        for message in stream_of(scan):
            arriving.write(memoryview(message))
        kept = arriving.finish()
    return admit(services, kept, "MRD 127.0.0.1", overrides).series_key


def looked_at(services: Services, key: str) -> series.Series:
    with services.database.read() as session:
        return series.get(session, key)


def test_a_stream_becomes_maps_in_its_study(site: Services) -> None:
    key = admitted(site, raw_ball(is_accelerated=True))
    received.step(key, site)
    for step in (assembled.step, reconstructed.step, mapped.step, encoded.step):
        step(key, site)
        step(key, site)
    assert looked_at(site, key).state == State.ENCODED
    with site.database.read() as session:
        run = runs.get(session, key, 1)
        images = site.workspace.get(artefacts.digest_of(session, key, 1, ACQUISITION)).arrays
        made = [pydicom.dcmread(site.outbox / one.path) for one in outputs.of_run(session, run.key)]
    scanned = scans.scan()
    inside = scanned.magnitude[0] > 300
    turned = np.angle(np.exp(1j * (images["phase"][1] - images["phase"][0] - scanned.phase[1] + scanned.phase[0])))
    # Coils share one unknown phase in space, which the difference of two echoes does not have.
    assert np.abs(turned[inside]).mean() < 0.05
    assert run.acquisition["reconstruction"]["method"]
    assert "geometry_factor" in [finding["name"] for finding in run.quality["findings"]]
    assert any("reconstruction from k-space by" in str(one) for one in made)
    for one in made:
        assert one.StudyInstanceUID == IDENTITY["StudyInstanceUID"]
        assert one.PatientID == IDENTITY["PatientID"]
        assert one.get("FrameOfReferenceUID", IDENTITY["FrameOfReferenceUID"]) == IDENTITY["FrameOfReferenceUID"]
    slices = [one for one in made if "ImagePositionPatient" in one]
    assert len(slices) == scans.SHAPE[0]
    first = min(slices, key=lambda one: one.InstanceNumber)
    assert np.allclose(first.ImagePositionPatient, scanned.geometry.first_position, atol=1e-3)


def test_a_recipe_that_makes_images_finer_gives_objects_on_their_grid(node_toml: Callable[..., Path]) -> None:
    path = node_toml(more=OBJECTS)
    path.write_text(path.read_text().replace('recipe = "default"', 'recipe = "super_resolution"'))
    services = build_services_from_file(path)
    key = admitted(services, raw_ball())
    for step in (received.step, assembled.step, reconstructed.step, mapped.step, encoded.step):
        step(key, services)
    with services.database.read() as session:
        run = runs.get(session, key, 1)
        images = services.workspace.get(artefacts.digest_of(session, key, 1, ACQUISITION)).arrays
        made = [pydicom.dcmread(services.outbox / one.path) for one in outputs.of_run(session, run.key)]
    services.close()
    names = {finding["name"] for finding in run.quality["findings"]}
    assert {"super_resolution_training", "measured_band_kept", "regions_kept", "super_resolution_source"} <= names
    assert tuple(run.acquisition["shape"]) == images["magnitude"].shape[1:]
    (used,) = [one for one in run.quality["findings"] if one["name"] == "super_resolution_source"]
    fineness = 2 if used["figures"]["super_resolution_used"] else 1
    slices = [one for one in made if "ImagePositionPatient" in one]
    assert len(slices) == fineness * scans.SHAPE[0]
    assert slices[0].Rows == fineness * scans.SHAPE[1]
    assert slices[0].PixelSpacing[0] == pytest.approx(2.0 / fineness)


def test_raw_data_that_came_over_dicom_are_read_by_their_creator_version(site: Services) -> None:
    content = b"".join(stream_of(raw_ball()))
    payload = RawPayload(PayloadFormat.MRD_STREAM, hashlib.sha256(content).hexdigest(), len(content))
    made = raw_data_object(payload, raw_ball().header, now(), content)
    (receipt,) = [received.receive(site, scans.store(site, made), "SCANNER")]
    received.step(receipt.series_key, site)
    assembled.step(receipt.series_key, site)
    assert looked_at(site, receipt.series_key).state == State.ASSEMBLED


def test_raw_data_of_another_creator_are_kept_and_named(site: Services) -> None:
    made = raw_data_object(RawPayload(PayloadFormat.TWIX, "0" * 64, 10), None, now())
    made.CreatorVersionUID = "1.2.840.113619.6.408"
    receipt = received.receive(site, scans.store(site, made), "SCANNER")
    with site.database.read() as session:
        (row,) = instances.of_series(session, [receipt.series_key])
        assert instances.series_of_creator(session, "1.2.840.113619.6.408") == {receipt.series_key}
        assert instances.series_of_creator(session, CREATOR_VERSION_UID) == set()
    assert row.refusal_class == "UnknownRawData"
    assert "creator version 1.2.840.113619.6.408" in row.sentence
    with pytest.raises(UnknownRawData):
        assembled.step(receipt.series_key, site)


def test_missing_noise_refuses_the_scan_unless_the_sidecar_says_that_there_is_none(site: Services) -> None:
    scan = raw_ball()
    silent = RawScan(scan.header, scan.heads[16:], scan.samples[16:])
    with pytest.raises(NoiseMissing):
        assembled.step(admitted(site, silent), site)
    key = admitted(site, silent, Overrides(is_without_noise=True))
    assembled.step(key, site)
    assert looked_at(site, key).state == State.ASSEMBLED


def damaged(**changes: object) -> RawScan:
    scan = raw_ball()
    return RawScan(replace(scan.header, xml="", **changes), scan.heads, scan.samples)


def without_calibration() -> RawScan:
    scan = raw_ball(is_accelerated=True)
    kept = np.flatnonzero(((scan.flags & NOISE) != 0) | (scan.step_1 % 2 == 0))
    return RawScan(scan.header, scan.heads[kept], [scan.samples[index] for index in kept])


def to_images(key: str, services: Services) -> None:
    for step in (assembled.step, reconstructed.step):
        step(key, services)


NO_VIEW = Space((16, 32, 64), (0.0, 0.0, 0.0))


@pytest.mark.parametrize(
    ("make", "kind", "sentence"),
    [
        (lambda: damaged(trajectory="spiral"), UnknownTrajectory, "'spiral'"),
        (without_calibration, CalibrationMissing, "reference lines"),
        (lambda: damaged(echo_times_s=(0.006, 0.012, 0.018)), RawLinesMissing, "announces 3 echoes"),
        (lambda: damaged(encoded=NO_VIEW), RawHeaderUnusable, "field of view of 0 x 0 x 0 mm"),
    ],
    ids=["trajectory", "calibration", "echoes", "view"],
)
def test_what_forbids_images_is_named_and_the_stream_is_kept(
    site: Services, make: Callable[[], RawScan], kind: type[Exception], sentence: str
) -> None:
    key = admitted(site, make())
    with pytest.raises(kind, match=sentence):
        to_images(key, site)
    assert len(list(site.kspace.kept())) == 1


def test_samples_that_are_no_numbers_refuse_the_scan_by_name(site: Services) -> None:
    scan = raw_ball()
    spoiled = [line.copy() for line in scan.samples]
    spoiled[40][0, 0] = np.nan
    key = admitted(site, RawScan(scan.header, scan.heads, spoiled))
    assembled.step(key, site)
    with pytest.raises(NotFiniteValues, match="Readout 40 "):
        reconstructed.step(key, site)
    assert len(list(site.kspace.kept())) == 1
