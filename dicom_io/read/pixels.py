"""From stored values to float32 images: every frame decoded once, its bytes counted, its phase in radians proved."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydicom import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGExtended12Bit, RLELossless

from dicom_io.errors import (
    ContradictoryHeader,
    NotDicom,
    NotFiniteValues,
    PhaseMissing,
    PhaseScaleUnknown,
    TruncatedPixelData,
    UnsupportedTransferSyntax,
)
from dicom_io.instance import PARSING_FAILURES, SurvivingPanics, attribute, named, number, open_instance, quietly, text
from dicom_io.read import jpeg_lossless
from dicom_io.read.conclusions import Conclusions
from dicom_io.read.cutting import UNDEFINED_LENGTH
from dicom_io.read.encapsulation import RESEND, require_plausible
from dicom_io.read.multiframe import FrameView, whole_view
from dicom_io.read.opening import Opened
from dicom_io.read.run_length import RunLengthPixels

PIXEL_ELEMENTS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
PIXEL_DESCRIPTION = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
)
PLAIN_DESCRIPTION = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "Rows",
    "Columns",
)
UNCOMPRESSED = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
RANGE_TOLERANCE = 1e-3
FILLED = 0.95
COHERENT = 0.2
PADDING = 1
EXTENDED_OFFSETS = 0x7FE00001

jpeg_lossless.register()


def decode(path: Path) -> np.ndarray:
    """Return the stored values of one object, shape `(frame, row, column)`.

    Raises
    ------
    TruncatedPixelData
        There are fewer bytes or frames than the header promises.
    UnsupportedTransferSyntax
        No decoder for the compression.
    NotFiniteValues
        Floating point pixels hold NaN or infinity.
    ContradictoryHeader
        There are more pixels than the matrix and the number of frames account for.
    """
    with quietly():
        dataset = _opened(path)
        element = next((keyword for keyword in PIXEL_ELEMENTS if keyword in dataset), None)
        if element is None:
            raise TruncatedPixelData(f"It holds no {named('PixelData')}; {RESEND}.")
        shape = (_count(dataset, "NumberOfFrames", 1), _count(dataset, "Rows"), _count(dataset, "Columns"))
        _require_length(dataset, element, shape)
        stored = _decoded(dataset)
    if stored.size != math.prod(shape):
        raise TruncatedPixelData(
            f"{named(element)} decodes to {stored.size} pixels where {math.prod(shape)} are due; {RESEND}."
        )
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise NotFiniteValues(
            f"{named(element)} holds {int((~np.isfinite(stored)).sum())} pixels that are NaN or infinite; "
            "export the original integer images."
        )
    return stored.reshape(shape)


@dataclass(frozen=True, slots=True)
class PlainPixels:
    """Uncompressed pixels where they lie in a file: `shape` is `(frame, row, column)`."""

    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    bits_stored: int

    @property
    def lowest(self) -> int:
        """Return the lowest value that the stored bits can hold."""
        return -(1 << (self.bits_stored - 1)) if self.dtype.kind == "i" else 0

    @property
    def highest(self) -> int:
        """Return the highest value that the stored bits can hold."""
        return self.lowest + (1 << self.bits_stored) - 1

    def read(self, stream: BinaryIO, number: int, room: np.ndarray) -> None:
        """Read one frame, counted from 0, into `room` `(row, column)`.

        Raises
        ------
        TruncatedPixelData
            The file has become shorter since it was opened.
        """
        stream.seek(self.offset + number * room.nbytes)
        if stream.readinto(room.data) != room.nbytes:  # type: ignore[attr-defined]
            raise TruncatedPixelData(f"It ends before its {named('PixelData')} does; {RESEND}.")

    def clear_unused_bits(self, frame: np.ndarray) -> None:
        """Make the bits above BitsStored follow the stored ones, in place (PS3.5 8.1.1)."""
        unused = 8 * self.dtype.itemsize - self.bits_stored
        np.left_shift(frame, unused, out=frame)
        np.right_shift(frame, unused, out=frame)


Pixels = PlainPixels | RunLengthPixels


def pixels_in_file(opened: Opened, conclusions: Conclusions) -> Pixels | None:
    """Return where an object's pixels lie, if they can be taken from there; None where `decode` must."""
    place = opened.pixels
    if place is None or EXTENDED_OFFSETS in opened.elements.layout.places:
        return None
    with quietly():
        form = conclusions.of(_plain_form, whole_view(opened), None)
    if form is None:
        return None
    shape, dtype, bits_stored, photometric = form
    if place.transfer_syntax == RLELossless:
        is_open = place.length == UNDEFINED_LENGTH
        return RunLengthPixels(place.offset, shape, dtype, bits_stored, photometric) if is_open else None
    surplus = place.length - math.prod(shape) * dtype.itemsize
    if place.offset + place.length != place.file_size or not 0 <= surplus <= PADDING:
        return None
    return PlainPixels(place.offset, shape, dtype, bits_stored)


def _plain_form(view: FrameView, vendor: None) -> tuple[tuple[int, int, int], np.dtype[Any], int, str] | None:
    stated: list[Any] = [view.of_object(keyword) for keyword in PLAIN_DESCRIPTION]
    samples, photometric, allocated, stored, representation, rows, columns = stated
    counts = (samples, allocated, stored, representation, rows, columns)
    if view.transfer_syntax not in (*UNCOMPRESSED, RLELossless) or not all(type(count) is int for count in counts):
        return None
    n_frames = int(number(view.of_object("NumberOfFrames"), "NumberOfFrames") or 1)
    is_plain = samples == 1 and photometric in ("MONOCHROME1", "MONOCHROME2") and allocated in (8, 16, 32)
    if not is_plain or representation not in (0, 1) or not 1 <= stored <= allocated or n_frames < 1:
        return None
    return (n_frames, rows, columns), np.dtype(f"<{'ui'[representation]}{allocated // 8}"), stored, photometric


def _opened(path: Path) -> Dataset:
    try:
        return open_instance(path, only=(*PIXEL_ELEMENTS, *PIXEL_DESCRIPTION))
    except NotDicom as failure:
        # The header was read before; what fails now is the way to the end of the pixels.
        raise TruncatedPixelData(f"It ends before its {named('PixelData')} does; {RESEND}.") from failure


def _count(dataset: Dataset, keyword: str, default: int = 0) -> int:
    return int(number(attribute(dataset, keyword), keyword) or default)


def _syntax(dataset: Dataset) -> UID:
    meta = getattr(dataset, "file_meta", None)
    return UID(text(attribute(meta, "TransferSyntaxUID")) if meta is not None else "")


def _require_length(dataset: Dataset, element: str, shape: tuple[int, int, int]) -> None:
    syntax = _syntax(dataset)
    if syntax.is_transfer_syntax and syntax.is_encapsulated:
        require_plausible(attribute(dataset, element) or b"", shape)
        return
    due = math.prod(shape) * _count(dataset, "BitsAllocated") // 8
    present = attribute(dataset, element) or b""
    if len(present) < due:
        raise TruncatedPixelData(f"{named(element)} holds {len(present)} bytes where {due} are due; {RESEND}.")
    # Some writers pad with one value; a row more of different ones means that the image is larger than its header says.
    surplus = present[due:]
    if len(surplus) > due // (shape[0] * shape[1]) and len(set(surplus)) > 1:
        raise ContradictoryHeader(
            f"{named(element)} holds {len(present)} bytes, but {named('Rows')}, {named('Columns')} and "
            f"{named('NumberOfFrames')} account for {due} of them only; ask the sender for intact headers."
        )


def _decoded(dataset: Dataset) -> np.ndarray:
    syntax = _syntax(dataset)
    unsupported = UnsupportedTransferSyntax(
        f"{syntax.name or 'An unnamed transfer syntax'} cannot be decoded here; "
        "ask the sender for Explicit VR Little Endian."
    )
    if not syntax.is_transfer_syntax:
        raise unsupported
    try:
        with SurvivingPanics():
            return pixel_array(dataset, raw=True)
    except (NotImplementedError, ImportError) as failure:
        raise unsupported from failure
    except PARSING_FAILURES as failure:
        # Pillow, which stands in for this lossy process, reads it in 8 bits only.
        if "missing dependencies" in str(failure) or syntax == JPEGExtended12Bit:
            raise unsupported from failure
        raise TruncatedPixelData(f"{named('PixelData')} cannot be decoded as {syntax.name}; {RESEND}.") from failure


def digest(path: Path) -> str:
    """Return the SHA-256 of the object's decoded pixels, to tell a repeated image from a second one."""
    stored = decode(path)
    return hashlib.sha256(stored.astype(stored.dtype.newbyteorder("<")).tobytes()).hexdigest()


def verified_phase(phase: np.ndarray, lowest: np.ndarray, highest: np.ndarray, is_declared: bool) -> np.ndarray:
    """Return the phase [rad] clipped to ±π, in place, once its values have been shown to fit the scale.

    Parameters
    ----------
    phase
        Shape `(echo, z, y, x)` [rad].
    lowest, highest
        The lowest and the highest value of each image, `(echo, z)` [rad].
    is_declared
        Whether the header states the scale.

    Raises
    ------
    PhaseMissing
        The images of an echo hold one value only.
    PhaseScaleUnknown
        Values lie beyond ±π, or a scale that is only a habit leaves ±π unfilled.
    """
    for echo in range(len(phase)):
        if lowest[echo].min() == highest[echo].max():
            raise PhaseMissing(f"The phase images of echo {echo + 1} hold one value only; export the phase again.")
    reach = max(-float(lowest.min()), float(highest.max()))
    if reach > math.pi * (1 + RANGE_TOLERANCE):
        raise PhaseScaleUnknown(
            f"With the scale that the header gives, the phase reaches ±{reach:.3f} rad, beyond ±π, so that scale is "
            f"not the right one: {named('RescaleSlope')} and {named('RescaleIntercept')} need the sender's correction."
        )
    if not is_declared and reach < FILLED * math.pi:
        raise PhaseScaleUnknown(
            f"The header states no phase scale, and with the manufacturer's usual one the phase reaches only "
            f"±{reach:.3f} rad, which proves nothing: export the phase with {named('RescaleType')} or real and "
            "imaginary images."
        )
    pi = np.float32(math.pi)
    return np.clip(phase, -pi, pi, out=phase) if reach > pi else phase


def verified_magnitude(magnitude: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Return the magnitude with the small negative values of interpolation set to zero, in place.

    Raises
    ------
    ContradictoryHeader
        Negative values are too large to be a magnitude.
    """
    if lowest < -0.05 * highest:
        raise ContradictoryHeader(
            f"The images that call themselves magnitude reach {lowest:.4g}: they are something else; "
            "send the magnitude images."
        )
    return np.maximum(magnitude, 0, out=magnitude) if lowest < 0 else magnitude


def polar(real: np.ndarray, imaginary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return magnitude and phase [rad] of real and imaginary images.

    Raises
    ------
    PhaseScaleUnknown
        Neither is ever negative, so their zero is unknown.
    """
    if real.min() >= 0 and imaginary.min() >= 0:
        raise PhaseScaleUnknown(
            "The real and imaginary images are never negative, so their zero was lost with "
            f"{named('RescaleIntercept')}; export them with their original rescaling."
        )
    return np.hypot(real, imaginary), np.arctan2(imaginary, real)


def has_alternating_slices(magnitude: np.ndarray, phase: np.ndarray) -> bool:
    """Return whether the complex image changes sign from slice to slice.

    Parameters
    ----------
    magnitude, phase
        The first echo, shape `(z, y, x)`; phase in [rad].
    """
    image = magnitude * np.exp(1j * phase)
    product = (image[1:] * image[:-1].conj()).sum(axis=(1, 2))
    weight = (magnitude[1:] * magnitude[:-1]).sum(axis=(1, 2))
    coherence = product.real / np.maximum(weight, np.finfo(np.float32).tiny)
    decided = np.abs(coherence) > COHERENT
    return bool(decided.sum() >= 2 and (coherence[decided] < 0).mean() > 0.6)


def undo_alternation(phase: np.ndarray) -> np.ndarray:
    """Return the phase `(echo, z, y, x)` [rad] with π added to every second slice, wrapped to ±π."""
    turned = phase.copy()
    odd = turned[:, 1::2]
    turned[:, 1::2] = np.where(odd > 0, odd - np.float32(math.pi), odd + np.float32(math.pi))
    return turned
