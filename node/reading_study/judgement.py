"""Read a damaged series and judge it: the same acquisition, a named refusal, or a misreading, which must not be."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dicom_io.errors import Permanent
from dicom_io.instance import PARSING_FAILURES
from dicom_io.read.reader import read_echo_series
from dicom_io.series import EchoSeries
from dicom_io.write.scanners.scan import Scan
from node.reading_study.mutations import Damager
from node.reading_study.subjects import Subject, encoded

IDENTICAL, REFUSED, MISREAD, CRASHED = "identical", "refused", "misread", "crashed"
LEGEND = (
    "identical: the same echo times, grid, field strength, phase and magnitude, the latter up to one factor for all of "
    "it, for the unit of a magnitude is arbitrary. refused: by a named error. misread: read, but as something else, or "
    "read although the undamaged series must be refused. A plausible other value is given to all images alike only "
    "where something else in their headers contradicts it: an echo time changed everywhere is another scan's header."
)
ROUNDING = 2e-6
SAME_FIELD = 0.006
SURPRISES = (*PARSING_FAILURES, AssertionError, MemoryError)


@dataclass(frozen=True)
class Verdict:
    """What became of one mutation: its outcome, the class of the refusal or error, and what differs from the truth."""

    number: int
    subject: str
    kind: str
    description: str
    outcome: str
    reason: str


class Court:
    """Judges mutations of one subject against what the undamaged series is."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.name = subject.name
        self._subject = subject
        self._damager = Damager(subject)
        self._paths = [folder / f"{number:04d}.dcm" for number in range(len(subject.objects))]
        self._folder = folder
        for path, dataset in zip(self._paths, subject.objects, strict=True):
            path.write_bytes(encoded(dataset))
        self.truth, self.refusal = _reading(self._paths)

    def verdict(self, number: int, seed: int) -> Verdict:
        """Damage the subject as number and seed say, read it, and compare."""
        mutation = self._damager.mutation(random.Random(f"{seed} {number}"))
        paths = list(self._paths)
        for index, content in mutation.changed.items():
            paths[index] = self._folder / f"damaged-{index:04d}.dcm"
            paths[index].write_bytes(content)
        try:
            found, refusal = _reading(paths)
        except SURPRISES as surprise:
            outcome, reason = CRASHED, f"{type(surprise).__name__}: {surprise}"
        else:
            outcome, reason = self._compared(found, refusal)
        return Verdict(number, self._subject.name, mutation.kind, mutation.description, outcome, reason)

    def is_same_in_any_order(self) -> bool:
        """Return whether other names, another order of files and another folder give the same bits."""
        other = self._folder / "renamed"
        other.mkdir(exist_ok=True)
        copies = [other / f"{len(self._paths) - number:06d}.ima" for number in range(len(self._paths))]
        for path, name in zip(self._paths, copies, strict=True):
            name.write_bytes(path.read_bytes())
        found, _ = _reading(copies)
        if found is None or self.truth is None:
            return False
        same = np.array_equal(found.phase, self.truth.phase) and np.array_equal(found.magnitude, self.truth.magnitude)
        return same and found.source.geometry == self.truth.source.geometry

    def _compared(self, found: EchoSeries | None, refusal: str) -> tuple[str, str]:
        if found is None:
            return REFUSED, refusal
        if self.truth is None:
            return MISREAD, f"read although it must be refused as {self.refusal}"
        difference = differs(self.truth, found)
        return (MISREAD, difference) if difference else (IDENTICAL, "")


def _reading(paths: Sequence[Path]) -> tuple[EchoSeries | None, str]:
    try:
        return read_echo_series(paths), ""
    except Permanent as refusal:
        return None, type(refusal).__name__


def differs(truth: EchoSeries, found: EchoSeries) -> str:
    """Return in which respect an acquisition is not the true one beyond the rounding of float32; empty if in none."""
    one, other = truth.source, found.source
    if one.echo_times_s != other.echo_times_s:
        return f"echo times {other.echo_times_s} for {one.echo_times_s}"
    if one.geometry.shape != other.geometry.shape:
        return f"shape {other.geometry.shape} for {one.geometry.shape}"
    if not np.allclose(one.geometry.affine_lps, other.geometry.affine_lps, rtol=0, atol=1e-4):
        return "geometry"
    if abs(other.magnetic_field_strength_t / one.magnetic_field_strength_t - 1) > SAME_FIELD:
        return f"field strength {other.magnetic_field_strength_t:.4f} T for {one.magnetic_field_strength_t:.4f} T"
    turned = np.angle(np.exp(1j * (found.phase.astype(np.float64) - truth.phase)))
    if np.abs(turned).max() > 10 * ROUNDING:
        return f"phase, by up to {np.abs(turned).max():.3g} rad"
    # Magnitude has no unit: one factor for all of it changes nothing that is made from it.
    scale = float(found.magnitude.sum(dtype=np.float64) / truth.magnitude.sum(dtype=np.float64))
    if np.abs(found.magnitude - scale * truth.magnitude).max() > 10 * ROUNDING * scale * truth.magnitude.max():
        return "magnitude"
    return ""


def checks(court: Court, scan: Scan) -> dict[str, str | float | bool]:
    """Compare what an undamaged simulated series was read as with the scan behind it, one figure per check."""
    if court.truth is None:
        return {"flavour": court.name, "refusal": court.refusal}
    found, source = court.truth, court.truth.source
    turned = np.angle(np.exp(1j * (found.phase.astype(np.float64) - scan.phase)))
    rising = np.angle(np.exp(1j * (found.phase[1] - found.phase[0]).astype(np.float64)))
    expected = np.angle(np.exp(1j * (scan.phase[1] - scan.phase[0])))
    scale = float((found.magnitude * scan.magnitude).sum() / (scan.magnitude**2).sum())
    return {
        "flavour": court.name,
        "vendor": source.vendor,
        "echo_times": np.allclose(source.echo_times_s, scan.echo_times_s, rtol=0, atol=1e-7),
        "geometry": np.allclose(source.geometry.affine_lps, scan.geometry.affine_lps, rtol=0, atol=1e-3),
        "b0_direction": np.allclose(source.geometry.b0_direction, scan.geometry.b0_direction, rtol=0, atol=1e-5),
        "field": abs(source.magnetic_field_strength_t / scan.magnetic_field_strength_t - 1) < SAME_FIELD,
        "sign": float((rising * expected).sum()) > 0,
        "phase_error_rad": float(np.abs(turned).max()),
        "magnitude_error": float(np.abs(found.magnitude / scale - scan.magnitude).max() / scan.magnitude.max()),
        "any_order": court.is_same_in_any_order(),
    }
