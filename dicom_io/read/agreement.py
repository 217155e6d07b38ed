"""Where a scanner sends all four parts, the pair that is not used must tell of the same complex image as the used one.

A part that was exchanged on the way, or whose sign was turned, then shows in the pixels: neither header nor pair alone
could prove it. A constant between both is no contradiction: scanners shift the phase of one pair by π, or of a slice.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dicom_io.errors import ContradictoryHeader, GeometryUnusable, PhaseScaleUnknown
from dicom_io.instance import naming
from dicom_io.read.assembly import Assembly
from dicom_io.read.headers import FrameHeader
from dicom_io.read.pixels import PlainPixels, decode
from dicom_io.read.scales import require_stated_range
from dicom_io.read.sorting import COMPLEX_PAIRS, Slot, arrange
from dicom_io.series import Part

VOXELS_PER_SLICE = 600
LEAST_COHERENCE = 0.8
MORE_LIKE_THE_CONJUGATE = 0.1
# The slices at the end of a slab hold little but noise, of which rounding leaves little that could agree.
LEAST_ENERGY = 0.01


@dataclass(frozen=True)
class _Compared:
    """How like the two images of a slice are, 0 to 1, as they are and with one phase turned round; and how strong."""

    direct: float
    turned: float
    energy: float


def require_agreement(assembly: Assembly, first: np.ndarray, second: np.ndarray) -> str:
    """Compare an acquisition with its other two parts, where these came, and return a sentence for the report.

    Parameters
    ----------
    assembly
        The acquisition.
    first, second
        The used pair, `(echo, z, y, x)`: magnitude and phase [rad] in the manufacturer's sign, or real and imaginary.

    Raises
    ------
    ContradictoryHeader
        The phase of the other pair is another one, or of the opposite sign; or its values are not what its own
        scale says.
    """
    pair = next(pair for pair in COMPLEX_PAIRS if pair != assembly.parts)
    witnesses = _witnesses(assembly, pair)
    places = {(echo, index) for part, echo, index in witnesses if part is pair[0]}
    places &= {(echo, index) for part, echo, index in witnesses if part is pair[1]}
    step = max(1, int((first.shape[2] * first.shape[3] / VOXELS_PER_SLICE) ** 0.5))
    reader = _Reader(assembly, step)
    compared: dict[tuple[int, int], _Compared] = {}
    try:
        for echo, index in sorted(places, key=lambda place: (place[1], place[0])):
            used = _complex(assembly.parts, *(part[echo, index, ::step, ::step] for part in (first, second)))
            other = _complex(pair, *(reader.read(witnesses[part, echo, index]) for part in pair))
            compared[echo, index] = _compare(used, other)
    except PhaseScaleUnknown:
        # What cannot be read cannot testify; the used pair stands by itself.
        return ""
    for part in {frame.part for frame in reader.ends_of} - {Part.PHASE}:
        ends = {frame: ends for frame, ends in reader.ends_of.items() if frame.part is part}
        require_stated_range(list(ends), np.array(list(ends.values())), assembly.name_of)
    strongest = max((one.energy for one in compared.values()), default=0.0)
    for (echo, index), one in compared.items():
        if one.energy > LEAST_ENERGY * strongest:
            name = assembly.name_of[witnesses[pair[0], echo, index].sop_instance_uid]
            _judge(one, f"{name}: in echo {echo + 1}, slice {index + 1}")
    return f"The {pair[0]} and {pair[1]} images, which came as well, tell of the same phase." if compared else ""


def _witnesses(assembly: Assembly, pair: tuple[Part, Part]) -> dict[Slot, FrameHeader]:
    """Return the frames of the pair that is not used, where both of its parts came and nothing speaks against them."""
    rest = [frame for frame in assembly.spare if frame.echo_time_ms and not frame.objections]
    if {frame.part for frame in rest} != set(pair):
        return {}
    try:
        placed = arrange([*assembly.chosen.values(), *rest])
    except GeometryUnusable:
        return {}
    if (placed.echo_times_ms, placed.n_slices) != (assembly.slots.echo_times_ms, assembly.slots.n_slices):
        return {}
    return {slot: held[0] for slot, held in placed.frames.items() if slot[0] in pair and len(held) == 1}


def _judge(found: _Compared, where: str) -> None:
    is_turned = found.turned > found.direct + MORE_LIKE_THE_CONJUGATE
    if not is_turned and found.direct >= LEAST_COHERENCE:
        return
    how = "of opposite sign" if is_turned else "another one"
    pairs = [f"{one} and {two}" for one, two in COMPLEX_PAIRS]
    raise ContradictoryHeader(
        f"{where} the phase of the {pairs[0]} images and that of the {pairs[1]} images is {how}: parts were exchanged "
        "or changed on the way; send the images as the scanner made them, or one of the two pairs alone."
    )


def _compare(used: np.ndarray, other: np.ndarray) -> _Compared:
    # Intensity that was made even in one pair only must not count, so the phase is weighted with both magnitudes.
    weight = float((np.abs(used) * np.abs(other)).sum())
    if not weight:
        return _Compared(1.0, 0.0, 0.0)
    direct, turned = np.vdot(other, used), np.dot(other.ravel(), used.ravel())
    return _Compared(float(abs(direct)) / weight, float(abs(turned)) / weight, float(np.vdot(used, used).real))


def _complex(pair: tuple[Part, Part], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    if pair[0] is Part.REAL:
        return first + 1j * second
    return first * np.exp(1j * second)


class _Reader:
    """Reads every `step`th voxel of witnesses, each object opened once after another."""

    def __init__(self, assembly: Assembly, step: int) -> None:
        self._assembly = assembly
        self._step = step
        self._decoded: Mapping[str, np.ndarray] = {}
        self.ends_of: dict[FrameHeader, tuple[float, float]] = {}

    def read(self, frame: FrameHeader) -> np.ndarray:
        """Return a frame in the unit of its part; phase [rad] in the manufacturer's sign."""
        with naming(self._assembly.name_of[frame.sop_instance_uid]):
            whole = self._stored(frame)
            self.ends_of[frame] = float(whole.min()), float(whole.max())
            stored = whole[:: self._step, :: self._step].astype(np.float64)
            values = frame.values
            if frame.part is Part.PHASE:
                scale = self._assembly.vendor.phase_scale(values)
                return stored * scale.slope + scale.intercept
        rescaled = stored * (1.0 if values.slope is None else values.slope) + (values.intercept or 0.0)
        return rescaled / (values.gain or 1.0)

    def _stored(self, frame: FrameHeader) -> np.ndarray:
        uid, number = frame.sop_instance_uid, (frame.frame_number or 1) - 1
        path, pixels = self._assembly.path_of[uid], self._assembly.pixels_of.get(uid)
        if not isinstance(pixels, PlainPixels):
            if uid not in self._decoded:
                self._decoded = {uid: decode(path)}
            return self._decoded[uid][number]
        room = np.empty(pixels.shape[1:], dtype=pixels.dtype)
        with path.open("rb", buffering=0) as stream:
            pixels.read(stream, number, room)
        if room.min() < pixels.lowest or room.max() > pixels.highest:
            pixels.clear_unused_bits(room)
        return room
