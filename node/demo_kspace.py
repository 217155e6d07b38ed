"""The demonstration from k-space: a simulated scanner streams raw data and waits on the connection for the map."""

import math
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from dicom_io.geometry import Geometry
from dicom_io.kspace.mrd_messages import Kind, MessageWalker, stream_of
from dicom_io.write.identity import derived_uid
from node.demo import LABEL_MAP, Folders, OnFraction, Scan, geometry_of
from node.demo_scanners import Scanner
from node.mrd.session import ASKS_BY_NAME
from node.nifti import write_volume
from node.raw_writer import MODEL, VENDOR, cartesian_raw_scan
from node.supervisor import Address
from pipeline.simulation.coils import birdcage_array
from pipeline.simulation.phantom import adult_head
from pipeline.simulation.raw_scanner import EchoImages, acquire_readouts
from pipeline.simulation.sampling_patterns import poisson_disk
from pipeline.simulation.scanner import DEMONSTRATION, Protocol, acquire

SETTINGS = "\n[kspace]\nlisten = true\nport = 0\n"
STREAM = "scan.mrd"
N_COILS = 6
CALIBRATION = (16, 24)
SNR = 60.0
BLOCK_BYTES = 1 << 20
ANSWER_WITHIN_S = 900.0
# Coarser, and with fewer echoes than the demonstration of images: reconstructing is the longest step of all.
PROTOCOL = replace(
    DEMONSTRATION,
    shape=(78, 114, 96),
    voxel_size_mm=(2.0, 2.0, 2.0),
    finest_mm=1.0,
    echo_times_s=(0.005, 0.014, 0.023),
    snr=math.inf,
)


@dataclass
class Returned:
    """What the node said over the connection that brought the scan: sentences, and how many images."""

    sentences: list[str]
    n_images: int = 0


def simulate_raw(
    folders: Folders,
    acceleration: float,
    on_progress: OnFraction,
    protocol: Protocol = PROTOCOL,
    n_coils: int = N_COILS,
) -> Scan:
    """Scan the digital head with an array of coils, and write the readouts as an MRD stream."""
    simulated = acquire(adult_head(), protocol, lambda share: on_progress(0.6 * share))
    images, geometry = EchoImages.of_scan(simulated), geometry_of(simulated)
    n_z, n_y, _ = images.grid.shape
    centre = (min(CALIBRATION[0], n_z), min(CALIBRATION[1], n_y))
    everything = torch.ones((n_z, n_y), dtype=torch.bool)
    pattern = poisson_disk((n_z, n_y), acceleration, centre) if acceleration > 1 else everything
    readouts = acquire_readouts(images, birdcage_array(images.grid, n_coils), pattern, SNR)
    on_progress(0.8)
    factors = (1, 1) if acceleration == 1 else (2, max(1, round(acceleration / 2)))
    raw = cartesian_raw_scan(readouts, images, geometry, _identity(geometry), factors, centre)
    path = folders.scanner / STREAM
    with path.open("wb") as file:
        for message in stream_of(raw, ASKS_BY_NAME):
            file.write(message)
    labels = simulated.labels.numpy().astype(np.float32)
    write_volume(folders.site / LABEL_MAP, labels, geometry.affine_ras, "labels of the digital head")
    on_progress(1.0)
    lines = f"{pattern.numel() / int(pattern.sum()):.1f} times accelerated" if acceleration > 1 else "fully sampled"
    sentence = f"An MRD stream of {raw.n_readouts} readouts of {n_coils} coils, {lines}."
    scanner = Scanner("k-space", f"{VENDOR}, {MODEL}", sentence, 1, raw.n_readouts)
    return Scan(scanner, (path,), simulated, geometry)


@contextmanager
def streaming(scan: Scan, address: Address, on_progress: OnFraction) -> Iterator[Returned]:
    """Stream a scan to the node, and collect what it sends back until the block ends.

    Raises
    ------
    OSError
        The node did not take it.
    """
    (path,) = scan.paths
    size, sent = path.stat().st_size, 0
    assert address.kspace_port is not None
    returned = Returned([])
    with socket.create_connection((address.host, address.kspace_port)) as connection, path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            connection.sendall(block)
            sent += len(block)
            on_progress(sent / size)
        listener = threading.Thread(target=_listen, args=(connection, returned), daemon=True)
        listener.start()
        yield returned
        listener.join(ANSWER_WITHIN_S)


def _listen(connection: socket.socket, returned: Returned) -> None:
    connection.settimeout(ANSWER_WITHIN_S)
    walker = MessageWalker()
    while piece := connection.recv(1 << 16):
        for message in walker.feed(memoryview(piece)):
            if message.kind is Kind.IMAGE:
                returned.n_images += 1
            elif message.kind is Kind.TEXT:
                returned.sentences.append(message.text.decode("utf-8", "replace").strip("\0 "))
            elif message.kind is Kind.CLOSE:
                return


def _identity(geometry: Geometry) -> dict[str, str]:
    return {
        "PatientName": "Phantom^Head",
        "PatientID": "LODESTONE-PHANTOM",
        "PatientSex": "O",
        "StudyInstanceUID": derived_uid("simulated study", "k-space"),
        "FrameOfReferenceUID": geometry.frame_of_reference_uid,
        "StudyDate": "20260101",
        "StudyTime": "120000",
        "StudyID": "1",
        "AccessionNumber": "SIM0001",
        "StudyDescription": "Digital head",
        "ProtocolName": "qsm_megre_3d",
        "SeriesDescription": "qsm_megre_3d k-space",
    }
