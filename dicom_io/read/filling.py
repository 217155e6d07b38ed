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
from dicom_io.read.sorting import Slot
from dicom_io.read.vendors.convention import PhaseScale, StoredValues
from dicom_io.series import Part


@dataclass(frozen=True)
class Image:
    """One part of an acquisition, float32 `(echo, z, y, x)`, with its lowest and highest value `(echo, z)`."""

    values: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


@dataclass(frozen=True)
class _Rescaling:
    """How the stored values of a frame become what they mean: `(stored × slope + intercept) × factor`."""

    slope: float
    intercept: float
    factor: float = 1.0


def filled(assembly: Assembly, scales: Mapping[StoredValues, PhaseScale]) -> tuple[Image, Image]:
    """Return both parts of an acquisition; phase in [rad], others rescaled and made comparable.

    Raises
    ------
    dicom_io.errors.Permanent
        An object's pixels cannot be decoded.
    """
    shape = (len(assembly.slots.echo_times_ms), *assembly.geometry.shape)
    stored = {part: np.empty(shape, dtype=np.float32) for part in assembly.parts}
    extremes = {part: np.zeros((2, *shape[:2]), dtype=np.float32) for part in assembly.parts}
    rescalings = _rescalings(assembly, scales)
    for uid, slots in _by_object(assembly).items():
        with naming(assembly.name_of[uid]), _frames(assembly, uid) as frame_of:
            for (part, echo, index), frame in slots:
                values, low, high = frame_of((frame.frame_number or 1) - 1)
                _rescale(values, rescalings[part, frame.values], stored[part][echo, index])
                extremes[part][:, echo, index] = low, high
    for (part, echo, index), frame in assembly.chosen.items():
        ends = extremes[part][:, echo, index]
        _rescale(ends.copy(), rescalings[part, frame.values], ends)
    first, second = (
        Image(stored[part], extremes[part].min(axis=0), extremes[part].max(axis=0)) for part in assembly.parts
    )
    return first, second


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
            found[part, values] = _Rescaling(scales[values].slope, scales[values].intercept)
        else:
            slope = 1.0 if values.slope is None else values.slope
            found[part, values] = _Rescaling(
                slope, values.intercept or 0.0, reference / values.gain if values.gain else 1.0
            )
    return found


def _rescale(stored: np.ndarray, rescaling: _Rescaling, target: np.ndarray) -> None:
    np.multiply(stored, np.float32(rescaling.slope), out=target, dtype=np.float32, casting="unsafe")
    # Adding nothing would only turn the −0 that a negative slope makes of 0.
    if rescaling.intercept or rescaling.slope <= 0:
        np.add(target, np.float32(rescaling.intercept), out=target)
    if rescaling.factor != 1.0:
        np.multiply(target, np.float32(rescaling.factor), out=target)


FrameOf = Callable[[int], tuple[np.ndarray, float, float]]


@contextmanager
def _frames(assembly: Assembly, uid: str) -> Iterator[FrameOf]:
    """Yield a function that returns a frame's stored values with the lowest and the highest of them."""
    pixels = assembly.pixels_of.get(uid)
    if pixels is None:
        stored = decode(assembly.path_of[uid])
        yield lambda number: (stored[number], float(stored[number].min()), float(stored[number].max()))
        return
    room = np.empty(pixels.shape[1:], dtype=pixels.dtype)
    with assembly.path_of[uid].open("rb", buffering=0) as stream:
        yield lambda number: _plain_frame(stream, pixels, number, room)


def _plain_frame(
    stream: BinaryIO, pixels: PlainPixels, number: int, room: np.ndarray
) -> tuple[np.ndarray, float, float]:
    pixels.read(stream, number, room)
    low, high = int(room.min()), int(room.max())
    if low < pixels.lowest or high > pixels.highest:
        pixels.clear_unused_bits(room)
        low, high = int(room.min()), int(room.max())
    return room, low, high
