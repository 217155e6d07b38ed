"""Have all lines of a scan come, and to which repetition do they belong?"""

import numpy as np

from dicom_io.errors import RawLinesMissing
from dicom_io.kspace.scan import RawScan


def of_one_repetition(scan: RawScan, readouts: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return those of some readouts that belong to the first repetition, and a note where there are others."""
    counters = [scan.heads["idx"][name][readouts] for name in ("repetition", "set", "phase")]
    others = np.any([counter > counter.min(initial=np.iinfo(counter.dtype).max) for counter in counters], axis=0)
    if not others.any():
        return readouts, ()
    note = f"Only the first repetition was taken; {int(others.sum())} readouts belong to others."
    return readouts[~others], (note,)


def check_lines(scan: RawScan, measured: np.ndarray, n_slices: int = 1) -> None:
    """Refuse a scan of which lines are missing.

    Parameters
    ----------
    scan
        The scan.
    measured
        Which lines came, bool `(echo, z, y)`; z counts slices where there are several.
    n_slices
        How many slices were measured one by one.

    Raises
    ------
    RawLinesMissing
        Echoes or slices have different lines, or fewer came than the header announces without acceleration.
    """
    per_echo = measured.sum(axis=(1, 2))
    fewest = int(per_echo.argmin())
    if per_echo.min() < per_echo.max():
        raise RawLinesMissing(
            f"Echo {fewest + 1} has {int(per_echo[fewest])} lines and another has {int(per_echo.max())}; lines of the "
            "scan are missing, send it again."
        )
    if n_slices > 1 and (measured != measured[:, :1]).any():
        raise RawLinesMissing(
            "Slices were measured along different lines; lines of the scan are missing, send it again."
        )
    if scan.header.acceleration != (1, 1):
        return
    _, nz, ny = measured.shape
    n_expected = _extent(scan, "kspace_encoding_step_1", ny)
    n_expected *= nz if n_slices > 1 else _extent(scan, "kspace_encoding_step_2", nz)
    if per_echo.min() < n_expected:
        raise RawLinesMissing(
            f"The header announces {n_expected} lines per echo without acceleration, and {int(per_echo.min())} came; "
            "lines of the scan are missing, send it again."
        )


def refuse_silence(samples: np.ndarray) -> None:
    """Refuse samples that are all zero.

    Raises
    ------
    RawLinesMissing
        They are.
    """
    if not samples.any():
        raise RawLinesMissing("All samples of the raw data's images are zero; nothing was measured, scan again.")


def _extent(scan: RawScan, name: str, size: int) -> int:
    limit = scan.header.limits.get(name)
    if limit is None or limit.maximum < limit.minimum:
        return size
    return min(size, limit.maximum - limit.minimum + 1)
