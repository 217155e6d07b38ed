"""Sort the readouts of a Cartesian scan into one array, with what was measured and what calibrates the coils.

Readout oversampling is removed, averages are averaged, readouts of negative polarity are turned round, and an
asymmetric echo is placed so that k = 0 lies at `size // 2` of every axis. The slices of a two-dimensional scan become
the third dimension of k-space by a transform along them, so that every reconstruction sees one volume.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dicom_io.errors import CalibrationMissing, NotFiniteValues, RawLinesMissing
from dicom_io.kspace.header_check import check_counts, check_header, check_noise
from dicom_io.kspace.line_check import check_lines, of_one_repetition, refuse_silence
from dicom_io.kspace.readout_heads import CALIBRATION, REVERSE
from dicom_io.kspace.scan import RawScan, calibration_readouts, imaging_readouts, noise_readouts
from dicom_io.kspace.stack import n_slices, places_of_slices

FEWEST_CALIBRATION_LINES = 8
CENTRE_UNSET = "The readouts do not state at which sample they pass k = 0; it was taken to be the middle one."
_BATCH = 512

OnFraction = Callable[[float], None]


@dataclass(frozen=True)
class SortedKspace:
    """K-space as arrays.

    `samples` are complex64 `(echo, coil, z, y, x)`, `measured` is bool `(echo, z, y)`, `noise` `(coil, n)` or None,
    `calibration` `(coil, z, y, x)` or None; x has the reconstructed matrix' length.
    """

    samples: np.ndarray
    measured: np.ndarray
    noise: np.ndarray | None
    calibration: np.ndarray | None
    notes: tuple[str, ...]


def sort_cartesian(scan: RawScan, needs_noise: bool = True, on_progress: OnFraction | None = None) -> SortedKspace:
    """Sort a Cartesian scan.

    Raises
    ------
    UnknownTrajectory, RawHeaderUnusable
        The header does not suffice.
    RawLinesMissing
        Readouts and header disagree, or readouts that the header announces have not come.
    NoiseMissing, CalibrationMissing
        What weighs the coils is missing.
    NotFiniteValues
        A sample is NaN or infinite; the sentence names the readout.
    """
    check_header(scan.header)
    check_counts(scan)
    check_noise(scan, needs_noise)
    placing = _Placing(scan)
    imaging, notes = of_one_repetition(scan, _imaging(scan))
    samples, counts = placing.gather(imaging, placing.shape, on_progress)
    refuse_silence(samples)
    measured = counts > 0
    check_lines(scan, measured, placing.n_slices)
    calibration = _calibration(scan, placing)
    _check_calibration(scan, measured, calibration)
    if placing.is_centre_unset:
        notes += (CENTRE_UNSET,)
    samples = placing.slices_as_encoding(samples)
    if placing.n_slices > 1:
        calibration = None if calibration is None else placing.slices_as_encoding(calibration)
    return SortedKspace(samples, measured, noise_samples(scan, imaging), calibration, (*scan.notes, *notes))


class _Placing:
    """Where each readout goes: its echo, partition or slice, and line, relative to where k = 0 lies."""

    def __init__(self, scan: RawScan) -> None:
        self._scan = scan
        header = scan.header
        nz, ny, self._nx_encoded = header.encoded.shape
        self.n_slices = n_slices(scan)
        self.n_coils = int(scan.heads["active_channels"][imaging_readouts(scan)[0]])
        self.n_echoes = len(header.echo_times_s)
        self.nx = header.recon.shape[2] if self._is_oversampled() else self._nx_encoded
        self.shape = (max(nz, self.n_slices), ny, self.nx)
        self.z_of_slice = places_of_slices(scan)
        self.is_centre_unset = _is_centre_unset(scan, self._nx_encoded)
        self._line_centre = self._centre("kspace_encoding_step_1", ny)
        self._partition_centre = self._centre("kspace_encoding_step_2", nz)

    def _is_oversampled(self) -> bool:
        encoded, recon = self._scan.header.encoded, self._scan.header.recon
        return recon.shape[2] < encoded.shape[2] and recon.field_of_view_mm[2] < encoded.field_of_view_mm[2]

    def _centre(self, name: str, size: int) -> int:
        limit = self._scan.header.limits.get(name)
        return limit.center if limit is not None else size // 2

    def places(self, readouts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return echo, z and y of some readouts; y and z count from where the array begins."""
        scan, (nz, ny, _) = self._scan, self.shape
        y = scan.step_1[readouts].astype(int) - self._line_centre + ny // 2
        z = scan.step_2[readouts].astype(int) - self._partition_centre + nz // 2
        if self.n_slices > 1:
            z = self.z_of_slice[scan.slice[readouts]]
        outside = (y < 0) | (y >= ny) | (z < 0) | (z >= nz)
        if outside.any():
            number = int(readouts[np.flatnonzero(outside)[0]])
            raise RawLinesMissing(
                f"Readout {number} lies at line {int(scan.step_1[number])}, partition {int(scan.step_2[number])}, "
                f"outside the encoded matrix of {ny} lines and {nz} partitions; header and readouts disagree."
            )
        return scan.contrast[readouts].astype(int), z, y

    def gather(
        self, readouts: np.ndarray, shape: tuple[int, int, int], on_progress: OnFraction | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the averaged samples of some readouts, and how many readouts each place `(echo, z, y)` got."""
        echo, z, y = self.places(readouts)
        samples = np.zeros((self.n_echoes, self.n_coils, *shape), np.complex64)
        counts = np.zeros((self.n_echoes, *shape[:2]), np.uint16)
        np.add.at(counts, (echo, z, y), 1)
        is_averaged = bool((counts > 1).any())
        for start in range(0, len(readouts), _BATCH):
            part = slice(start, start + _BATCH)
            lines = self._lines(readouts[part])
            for line, *place in zip(lines, echo[part], z[part], y[part], strict=True):
                if is_averaged:
                    samples[place[0], :, place[1], place[2]] += line / counts[tuple(place)]
                else:
                    samples[place[0], :, place[1], place[2]] = line
            if on_progress is not None:
                on_progress(min(1.0, (start + _BATCH) / len(readouts)))
        return samples, counts

    def _lines(self, readouts: np.ndarray) -> np.ndarray:
        """Return readouts `(readout, coil, x)`: centred, all running forwards, without oversampling."""
        scan = self._scan
        lines = np.zeros((len(readouts), self.n_coils, self._nx_encoded), np.complex64)
        for line, number in zip(lines, readouts, strict=True):
            given = scan.samples[number]
            if given.shape[0] != self.n_coils:
                raise RawLinesMissing(f"Readout {number} has {given.shape[0]} coils instead of {self.n_coils}.")
            self._place(line, given, int(number))
        if not np.isfinite(lines).all():
            worst = int(readouts[np.flatnonzero(~np.isfinite(lines).all(axis=(1, 2)))[0]])
            raise NotFiniteValues(
                f"Readout {worst} of the raw data holds samples that are no finite numbers; the scan must be repeated."
            )
        return lines if self.nx == self._nx_encoded else _without_oversampling(lines, self.nx)

    def _place(self, line: np.ndarray, given: np.ndarray, number: int) -> None:
        head = self._scan.heads[number]
        first, last = int(head["discard_pre"]), given.shape[1] - int(head["discard_post"])
        centre, nx = int(head["center_sample"]), line.shape[1]
        if self.is_centre_unset:
            centre = nx // 2
        given = given[:, first:last]
        centre -= first
        if int(head["flags"]) & REVERSE:
            given, centre = given[:, ::-1], given.shape[1] - 1 - centre
        start = nx // 2 - centre
        if start < 0 or start + given.shape[1] > nx:
            given = given[:, max(0, -start) : nx - start]
            start = max(0, start)
        line[:, start : start + given.shape[1]] = given

    def slices_as_encoding(self, samples: np.ndarray) -> np.ndarray:
        """Transform along z where z is slices, so that the volume's transform gives the slices back."""
        if self.n_slices == 1:
            return samples
        shifted = np.fft.ifftshift(samples, axes=-3)
        return np.fft.fftshift(np.fft.fft(shifted, axis=-3, norm="ortho"), axes=-3).astype(np.complex64)


def _is_centre_unset(scan: RawScan, nx: int) -> bool:
    """Say whether readouts as long as the matrix state k = 0 at their first sample: writers leave it out so."""
    heads = scan.heads[imaging_readouts(scan)]
    is_whole = (heads["number_of_samples"] == nx) & (heads["discard_pre"] == 0) & (heads["discard_post"] == 0)
    return bool(is_whole.all() and (heads["center_sample"] == 0).all() and nx > 1)


def _without_oversampling(lines: np.ndarray, nx: int) -> np.ndarray:
    image = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(lines, axes=-1), norm="ortho"), axes=-1)
    start = lines.shape[-1] // 2 - nx // 2
    cropped = image[..., start : start + nx]
    return np.fft.fftshift(np.fft.fft(np.fft.ifftshift(cropped, axes=-1), norm="ortho"), axes=-1).astype(np.complex64)


def _imaging(scan: RawScan) -> np.ndarray:
    """Return the readouts of the images; embedded calibration lines are lines of the image as well."""
    imaging = imaging_readouts(scan)
    if scan.header.calibration_mode != "embedded":
        return imaging
    return np.union1d(imaging, calibration_readouts(scan))


def _calibration(scan: RawScan, placing: _Placing) -> np.ndarray | None:
    """Return the separate reference: the largest full rectangle of its lines around k = 0; None where there is none."""
    separate = calibration_readouts(scan)
    separate = separate[(scan.flags[separate] & np.uint64(CALIBRATION)) != 0]
    separate = separate[scan.contrast[separate] == 0]
    if not len(separate) or scan.header.calibration_mode == "embedded":
        return None
    samples, counts = placing.gather(separate, placing.shape)
    filled = counts[0] > 0
    (nz, ny, _), rows, columns = placing.shape, np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
    if not filled[np.ix_(rows, columns)].all() or not filled[nz // 2, ny // 2]:
        raise CalibrationMissing("Lines of the coils' reference scan are missing around k = 0; send the scan again.")
    (z0, z1), (y0, y1) = (_around(found, size) for found, size in ((rows, nz), (columns, ny)))
    if placing.n_slices > 1:
        z0, z1 = 0, nz
    return np.ascontiguousarray(samples[0][:, z0:z1, y0:y1])


def _around(found: np.ndarray, size: int) -> tuple[int, int]:
    """Return the widest range inside the found lines whose own `size // 2` is the whole array's."""
    centre = size // 2
    below, above = centre - int(found[0]), int(found[-1]) - centre
    half = min(below, above + 1)
    return (centre, centre + 1) if half == 0 else (centre - half, centre + half)


def _check_calibration(scan: RawScan, measured: np.ndarray, calibration: np.ndarray | None) -> None:
    factors = scan.header.acceleration
    n_coils = int(scan.heads["active_channels"][imaging_readouts(scan)[0]])
    if factors == (1, 1) or n_coils == 1 or calibration is not None:
        return
    lines = measured[0]
    nz, ny = lines.shape
    wide = _run_through(lines[nz // 2], ny // 2)
    deep = _run_through(lines[:, ny // 2], nz // 2)
    needed = [
        min(FEWEST_CALIBRATION_LINES, size) if factor > 1 else 1 for factor, size in zip(factors, (ny, nz), strict=True)
    ]
    if wide < needed[0] or deep < needed[1]:
        raise CalibrationMissing(
            f"The scan is accelerated {factors[0]} x {factors[1]} times, and only {wide} x {deep} neighbouring lines "
            "were measured around k = 0; switch on reference lines, or send the reference scan with it."
        )


def _run_through(line: np.ndarray, centre: int) -> int:
    """Return how many neighbours in a row were measured, the centre among them."""
    if not line[centre]:
        return 0
    after = np.flatnonzero(~line[centre:])
    before = np.flatnonzero(~line[: centre + 1][::-1])
    return int((after[0] if len(after) else len(line) - centre) + (before[0] if len(before) else centre + 1) - 1)


def noise_samples(scan: RawScan, imaging: np.ndarray) -> np.ndarray | None:
    """Return the noise `(coil, n)`, scaled to the bandwidth of the images where both sample times are known.

    Raises
    ------
    NotFiniteValues
        A sample is NaN or infinite.
    """
    readouts = noise_readouts(scan)
    n_coils = int(scan.heads["active_channels"][imaging[0]])
    readouts = readouts[scan.heads["active_channels"][readouts] == n_coils]
    if not len(readouts):
        return None
    noise = np.concatenate([scan.samples[int(number)] for number in readouts], axis=1)
    if not np.isfinite(noise).all():
        raise NotFiniteValues("The noise measurement holds samples that are no finite numbers; repeat the scan.")
    dwell, own = float(scan.sample_time_us[readouts[0]]), float(scan.sample_time_us[imaging[0]])
    # The power of white noise is that of the bandwidth, which is one over the time between samples.
    return noise * np.float32(np.sqrt(dwell / own)) if dwell > 0 and own > 0 else noise
