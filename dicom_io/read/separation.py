"""Several scans in one series: repetitions, averages and slabs, told apart by what counts them, or left as they are."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from dicom_io.errors import DicomError, GeometryUnusable, IncompleteSeries, MixedSeries
from dicom_io.instance import named
from dicom_io.read.assembly import Instance, assemble
from dicom_io.read.headers import FrameHeader
from dicom_io.read.sorting import USABLE, normal_of

# Why the images of several scans are refused as one.
SEPARABLE = (MixedSeries, GeometryUnusable, IncompleteSeries)
MOST_SCANS = 16
SAME_PLACE_MM = 0.01
LARGEST_OVERLAP = 0.5
SLAB = "stack"
COUNTED_BY: dict[str, tuple[str, Callable[[FrameHeader], object]]] = {
    "temporal_position": ("TemporalPositionIdentifier", lambda frame: frame.temporal_position),
    "acquisition_number": ("AcquisitionNumber", lambda frame: frame.acquisition_number),
    SLAB: ("StackID", lambda frame: frame.stack or None),
    "acquired_at": ("AcquisitionTime", lambda frame: frame.acquired_at or None),
}


@dataclass(frozen=True)
class Share:
    """One scan of a series that holds several: its number, counted from 1, and what the header counts it by."""

    number: int
    n_scans: int
    counted_by: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Return which scan it is, for a report."""
        told = [
            f"{named(COUNTED_BY[name][0])} {value}" for name, value in zip(self.counted_by, self.values, strict=True)
        ]
        return f"The series holds {self.n_scans} {self._word}; this is number {self.number} ({', '.join(told)})."

    @property
    def title(self) -> str:
        """Return which scan it is in a few words."""
        return f"{self._word.removesuffix('s')} {self.number} of {self.n_scans}"

    @property
    def _word(self) -> str:
        words: dict[tuple[str, ...], str] = {(SLAB,): "slabs", ("temporal_position",): "repetitions"}
        return words.get(self.counted_by, "scans")

    def holds(self, frame: FrameHeader) -> bool:
        """Return whether a frame belongs to this scan."""
        return _values(frame, self.counted_by) == self.values

    def of(self, instances: Iterable[Instance]) -> list[Instance]:
        """Return the objects of this scan, each with the frames that belong to it."""
        kept = [(one, tuple(frame for frame in one.frames if self.holds(frame))) for one in instances]
        return [replace(one, frames=frames) for one, frames in kept if frames]


def separate(instances: Sequence[Instance]) -> list[Share]:
    """Return the scans of a series that was refused as one, in the order in which they are counted; or nothing.

    Each must be a whole acquisition by itself, of the same parts and echoes as the others: of the same slices, or, for
    slabs, of others. Where the header counts no scans, or counts them otherwise, nothing is taken apart.
    """
    frames = [frame for instance in instances for frame in instance.frames if frame.part in USABLE]
    counting = [name for name in COUNTED_BY if _counts(frames, name)]
    for n_names in range(1, len(counting) + 1):
        for names in combinations(counting, n_names):
            shares = _shares(frames, names)
            if len(shares) <= MOST_SCANS and _are_alike(frames, shares) and _are_whole(instances, shares):
                return shares
    return []


def _counts(frames: Sequence[FrameHeader], name: str) -> bool:
    found = {COUNTED_BY[name][1](frame) for frame in frames}
    return len(found) > 1 and None not in found


def _shares(frames: Sequence[FrameHeader], names: tuple[str, ...]) -> list[Share]:
    found = sorted({_values(frame, names) for frame in frames}, key=lambda values: [(len(one), one) for one in values])
    return [Share(number, len(found), names, values) for number, values in enumerate(found, start=1)]


def _values(frame: FrameHeader, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(COUNTED_BY[name][1](frame)) for name in names)


def _are_alike(frames: Sequence[FrameHeader], shares: Sequence[Share]) -> bool:
    """Return whether scans have the same parts of the same echoes, and slices as repetitions or as slabs have them."""
    held = [[frame for frame in frames if share.holds(frame)] for share in shares]
    contents = [
        Counter((frame.part, frame.echo_number, round(frame.echo_time_ms or 0.0, 2)) for frame in of_share)
        for of_share in held
    ]
    if any(one.keys() != contents[0].keys() for one in contents):
        return False
    try:
        normal = normal_of(frames[0])
    except GeometryUnusable:
        return False
    places = [np.array([frame.position for frame in of_share]) @ normal for of_share in held]
    if SLAB in shares[0].counted_by:
        return not _are_interleaved(places, [share.values[share.counted_by.index(SLAB)] for share in shares])
    distinct = [np.unique(np.round(place / SAME_PLACE_MM)) for place in places]
    return all(len(one) == len(distinct[0]) and np.abs(one - distinct[0]).max() <= 1 for one in distinct)


def _are_interleaved(places: Sequence[np.ndarray], slabs: Sequence[str]) -> bool:
    """Return whether slabs lie within one another by more than their overlap: then they are one volume in halves."""
    ends = {slab: (float(place.min()), float(place.max())) for slab, place in zip(slabs, places, strict=True)}
    for (low, high), (other_low, other_high) in combinations(ends.values(), 2):
        overlap = min(high, other_high) - max(low, other_low)
        if overlap > LARGEST_OVERLAP * min(high - low, other_high - other_low):
            return True
    return False


def _are_whole(instances: Sequence[Instance], shares: Sequence[Share]) -> bool:
    try:
        for share in shares:
            assemble(share.of(instances))
    except DicomError:
        return False
    return True
