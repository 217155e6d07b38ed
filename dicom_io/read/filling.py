"""From stored values to the arrays of an acquisition: each object opened once, each frame scaled where it will stay."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from dicom_io.instance import naming
from dicom_io.read.assembly import Assembly
from dicom_io.read.headers import FrameHeader
from dicom_io.read.pixels import PlainPixels, decode
from dicom_io.read.scales import require_stated_range
from dicom_io.read.sorting import Slot
from dicom_io.read.vendors.convention import PhaseScale, StoredValues
from dicom_io.series import Part

ONE = np.float32(1)


@dataclass(frozen=True)
class Image:
    """One part of an acquisition, float32 `(echo, z, y, x)`, with its lowest and highest value `(echo, z)`."""

    values: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


@dataclass(frozen=True)
class _Rescaling:
    """How the stored values of a frame become what they mean: `(stored × slope + intercept) × factor`."""

    slope: np.float32
    intercept: np.float32
    factor: np.float32 = ONE


def filled(assembly: Assembly, scales: Mapping[StoredValues, PhaseScale]) -> tuple[Image, Image]:
    """Return both parts of an acquisition; phase in [rad], others rescaled and made comparable.

    Raises
    ------
    dicom_io.errors.Permanent
        An object's pixels cannot be decoded, or contradict what its header says of them.
    """
    shape = (len(assembly.slots.echo_times_ms), *assembly.geometry.shape)
    stored = {part: np.empty(shape, dtype=np.float32) for part in assembly.parts}
    extremes = {part: np.zeros((*shape[:2], 2), dtype=np.float32) for part in assembly.parts}
    steps = {part: np.zeros((3, *shape[:2], 1), dtype=np.float32) for part in assembly.parts}
    rescalings = _rescalings(assembly, scales)
    for uid, slots in _by_object(assembly).items():
        with naming(assembly.name_of[uid]), _frames(assembly, uid) as frame_of:
            for (part, echo, index), frame in slots:
                values, ends = frame_of((frame.frame_number or 1) - 1)
                rescaling = rescalings[part, frame.values]
                _rescale(values, rescaling, stored[part][echo, index])
                extremes[part][echo, index] = ends
                steps[part][:, echo, index, 0] = rescaling.slope, rescaling.intercept, rescaling.factor
    for part in assembly.parts:
        if part is not Part.PHASE:
            frames = [assembly.chosen[part, echo, index] for echo, index in np.ndindex(*shape[:2])]
            require_stated_range(frames, extremes[part].reshape(-1, 2), assembly.name_of)
    first, second = (_image(stored[part], extremes[part], *steps[part]) for part in assembly.parts)
    return first, second


def _image(
    stored: np.ndarray, extremes: np.ndarray, slope: np.ndarray, intercept: np.ndarray, factor: np.ndarray
) -> Image:
    ends = (extremes * slope + intercept) * factor
    return Image(stored, ends.min(axis=-1), ends.max(axis=-1))


def _by_object(assembly: Assembly) -> dict[str, list[tuple[Slot, FrameHeader]]]:
    found: dict[str, list[tuple[Slot, FrameHeader]]] = {}
    for part in assembly.parts:
        for slot, frame in assembly.chosen.items():
            if slot[0] is part:
                found.setdefault(frame.sop_instance_uid, []).append((slot, frame))
    for slots in found.values():
        slots.sort(key=lambda item: item[1].frame_number or 0)
    return found


def _rescalings(
    assembly: Assembly, scales: Mapping[StoredValues, PhaseScale]
) -> dict[tuple[Part, StoredValues], _Rescaling]:
    # Real and imaginary images share one reference, or the angle between them would change.
    reference = assembly.chosen[assembly.parts[0], 0, 0].values.gain
    found: dict[tuple[Part, StoredValues], _Rescaling] = {}
    for part, values in {(part, frame.values) for (part, _, _), frame in assembly.chosen.items()}:
        if part is Part.PHASE:
            found[part, values] = _Rescaling(np.float32(scales[values].slope), np.float32(scales[values].intercept))
        else:
            slope = 1.0 if values.slope is None else values.slope
            factor = reference / values.gain if values.gain else 1.0
            found[part, values] = _Rescaling(np.float32(slope), np.float32(values.intercept or 0.0), np.float32(factor))
    return found


def _rescale(stored: np.ndarray, rescaling: _Rescaling, target: np.ndarray) -> None:
    # Converting first and multiplying in place afterwards spares numpy a buffer, and a slope of 1 changes nothing.
    np.copyto(target, stored, casting="unsafe")
    if rescaling.slope != ONE:
        np.multiply(target, rescaling.slope, out=target)
    # Adding nothing would only turn the −0 that a negative slope makes of 0.
    if rescaling.intercept or rescaling.slope <= 0:
        np.add(target, rescaling.intercept, out=target)
    if rescaling.factor != ONE:
        np.multiply(target, rescaling.factor, out=target)


FrameOf = Callable[[int], tuple[np.ndarray, tuple[float, float]]]


@contextmanager
def _frames(assembly: Assembly, uid: str) -> Iterator[FrameOf]:
    """Yield a function that returns a frame's stored values with the lowest and the highest of them."""
    pixels, path = assembly.pixels_of.get(uid), assembly.path_of[uid]
    if isinstance(pixels, PlainPixels):
        room = np.empty(pixels.shape[1:], dtype=pixels.dtype)
        with path.open("rb", buffering=0) as stream:
            yield lambda number: _plain_frame(stream, pixels, number, room)
        return
    in_turn = pixels.frames(path) if pixels else None
    if in_turn is None:
        stored = decode(path)
        yield lambda number: (stored[number], _ends(stored[number]))
        return
    frames = enumerate(in_turn)
    yield lambda number: _frame_in_turn(frames, number)
    # Frames that are not used are no reason to accept an object that is damaged where they lie.
    for _ in frames:
        pass


def _frame_in_turn(frames: Iterator[tuple[int, np.ndarray]], number: int) -> tuple[np.ndarray, tuple[float, float]]:
    frame = next(frame for at, frame in frames if at == number)
    return frame, _ends(frame)


def _plain_frame(
    stream: BinaryIO, pixels: PlainPixels, number: int, room: np.ndarray
) -> tuple[np.ndarray, tuple[float, float]]:
    pixels.read(stream, number, room)
    ends = _ends(room)
    if ends[0] < pixels.lowest or ends[1] > pixels.highest:
        pixels.clear_unused_bits(room)
        ends = _ends(room)
    return room, ends


def _ends(stored: np.ndarray) -> tuple[float, float]:
    return np.minimum.reduce(stored, axis=None), np.maximum.reduce(stored, axis=None)
