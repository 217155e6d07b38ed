"""The small scan of the node's tests as raw data: what four coils receive of the ball of water."""

import functools
from dataclasses import replace

import torch

from dicom_io.kspace.scan import RawScan
from node.raw_writer import cartesian_raw_scan
from pipeline.grid import Grid
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.raw_scanner import EchoImages, acquire_readouts
from pipeline.simulation.sampling_patterns import uniform
from tests.node import scans

IDENTITY = {
    "PatientName": "Phantom^Raw",
    "PatientID": "RAW-7",
    "PatientSex": "O",
    "StudyInstanceUID": "2.25.7701",
    "FrameOfReferenceUID": "2.25.7702",
    "StudyDate": "20260103",
    "StudyTime": "091500",
    "StudyID": "7",
    "AccessionNumber": "77",
    "ProtocolName": "qsm_megre_3d",
    "SeriesDescription": "raw qsm",
}


@functools.cache
def raw_ball(is_accelerated: bool = False) -> RawScan:
    """Return the scan, fully sampled or with every other line outside the centre left out."""
    scanned = scans.scan()
    grid = Grid(scans.SHAPE, (2.0, 2.0, 2.0))
    signal = torch.polar(torch.from_numpy(scanned.magnitude).float(), torch.from_numpy(scanned.phase).float())
    images = EchoImages(signal, scans.ECHO_TIMES_S, scans.B0_TESLA, grid, torch.from_numpy(scanned.magnitude[0] > 300))
    array = birdcage_array(grid, 4)
    centre = (16, 12)
    pattern = uniform(scans.SHAPE[:2], (1, 2 if is_accelerated else 1), centre)
    readouts = acquire_readouts(images, array, pattern, snr=100)
    factors = (2, 1) if is_accelerated else (1, 1)
    return cartesian_raw_scan(readouts, images, scanned.geometry, IDENTITY, factors, centre)


def with_identity(scan: RawScan, **changes: str) -> RawScan:
    """Return a scan of another patient or study."""
    return RawScan(replace(scan.header, identity={**scan.header.identity, **changes}), scan.heads, scan.samples)
