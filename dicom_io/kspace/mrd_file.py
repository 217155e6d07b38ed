"""ISMRMRD's HDF5 files: `/dataset/xml` with the header and `/dataset/data` with one row per readout."""

from pathlib import Path

import h5py
import numpy as np

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.directions import as_images_lie, as_stated
from dicom_io.kspace.mrd_header import header_xml, read_header
from dicom_io.kspace.readout_heads import READOUT_HEAD
from dicom_io.kspace.scan import RawScan
from dicom_io.kspace.trajectory import with_true_trajectory

DATASET = "dataset"
_FLOATS = h5py.special_dtype(vlen=np.dtype("<f4"))
_ROW = np.dtype([("head", READOUT_HEAD), ("traj", _FLOATS), ("data", _FLOATS)])


def read_file(path: Path) -> RawScan:
    """Read an ISMRMRD HDF5 file: the group `dataset`, or the only group that holds a header and readouts.

    Raises
    ------
    MalformedRawData
        The file is no HDF5, holds no or several scans, or its rows do not have the lengths that they state.
    """
    try:
        with h5py.File(path, "r") as file:
            group = _group_of(file)
            xml = group["xml"][0]
            rows = group["data"][:]
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as failure:
        raise MalformedRawData("The file is no ISMRMRD HDF5 file, or is damaged; export it again.") from failure
    heads = np.zeros(len(rows), READOUT_HEAD)
    _copy_fields(heads, rows["head"])
    if not len(rows):
        raise MalformedRawData("The ISMRMRD file holds no readouts; nothing can be reconstructed.")
    samples = [_samples(row, head, number) for number, (row, head) in enumerate(zip(rows["data"], heads, strict=True))]
    flat = rows["traj"] if "traj" in rows.dtype.names else ()
    places = (_places(one, head) for one, head in zip(flat, heads, strict=False))
    return as_images_lie(RawScan(with_true_trajectory(read_header(xml), places), heads, samples))


def write_file(path: Path, scan: RawScan) -> None:
    """Write a scan as an ISMRMRD HDF5 file; samples as they are, without trajectories."""
    rows = np.empty(scan.n_readouts, _ROW)
    rows["head"] = as_stated(scan).heads
    rows["head"]["trajectory_dimensions"] = 0
    for number, samples in enumerate(scan.samples):
        rows["traj"][number] = np.empty(0, np.float32)
        rows["data"][number] = np.ascontiguousarray(samples, np.complex64).view(np.float32).ravel()
    with h5py.File(path, "w") as file:
        group = file.create_group(DATASET)
        xml = group.create_dataset("xml", (1,), h5py.special_dtype(vlen=bytes))
        xml[0] = (scan.header.xml or header_xml(scan.header)).encode()
        group.create_dataset("data", data=rows, maxshape=(None,), chunks=(max(1, min(64, len(rows))),))


def _group_of(file: h5py.File) -> h5py.Group:
    if DATASET in file:
        return file[DATASET]
    scans = [name for name in file if isinstance(file[name], h5py.Group) and {"xml", "data"} <= set(file[name])]
    if len(scans) != 1:
        raise MalformedRawData(
            f"The file holds {len(scans)} ISMRMRD scans, one is wanted; export each into a file of its own."
        )
    return file[scans[0]]


def _copy_fields(target: np.ndarray, source: np.ndarray) -> None:
    """Copy what both layouts know: writers pad differently, and older versions know fewer fields."""
    for name in target.dtype.names or ():
        if name not in (source.dtype.names or ()):
            continue
        if target.dtype[name].names:
            _copy_fields(target[name], source[name])
        else:
            target[name] = source[name]


def _places(flat: np.ndarray, head: np.void) -> np.ndarray:
    """Return where each sample of a readout lies; nothing where the row does not hold as much as its head states."""
    shape = int(head["number_of_samples"]), int(head["trajectory_dimensions"])
    return np.asarray(flat, np.float32).reshape(shape) if flat.size == shape[0] * shape[1] else np.zeros((0, 0))


def _samples(flat: np.ndarray, head: np.void, number: int) -> np.ndarray:
    n_coils, n_samples = int(head["active_channels"]), int(head["number_of_samples"])
    if flat.size != 2 * n_coils * n_samples:
        raise MalformedRawData(
            f"Readout {number} states {n_coils} coils of {n_samples} samples and holds {flat.size // 2} numbers."
        )
    return np.ascontiguousarray(flat, "<f4").view("<c8").reshape(n_coils, n_samples)
