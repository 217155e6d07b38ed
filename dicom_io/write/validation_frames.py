"""Check the functional groups of a multi-frame object: every macro that its class must have, in every frame."""

from collections.abc import Iterator, Mapping, Sequence

from pydicom import Dataset
from pydicom.uid import EnhancedMRImageStorage, ParametricMapStorage, SegmentationStorage

_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_IN_SPACE = ("FrameContentSequence", "PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence")
# The tables list every macro that may stand in a functional group; these are the ones that an object of ours, derived
# and in patient coordinates, must have, shared or in every frame.
_MACROS: Mapping[str, tuple[str, ...]] = {
    # PS3.3 table A.51-2.
    SegmentationStorage: (*_IN_SPACE, "SegmentIdentificationSequence"),
    # PS3.3 table A.36-2; the acquisition's macros are required of original images only.
    EnhancedMRImageStorage: (
        *_IN_SPACE,
        "DerivationImageSequence",
        "FrameAnatomySequence",
        "FrameVOILUTSequence",
        "MRImageFrameTypeSequence",
        "PixelValueTransformationSequence",
    ),
    # PS3.3 table A.75-2.
    ParametricMapStorage: (
        *_IN_SPACE,
        "DerivationImageSequence",
        "FrameAnatomySequence",
        "FrameVOILUTSequence",
        "ParametricMapFrameTypeSequence",
        "PixelValueTransformationSequence",
        "RealWorldValueMappingSequence",
    ),
}


def frame_problems(dataset: Dataset) -> Iterator[str]:
    """Tell what is wrong with the functional groups of a multi-frame object (PS3.3 C.7.6.16, C.7.6.17).

    Parameters
    ----------
    dataset
        Any object; of one without functional groups that needs none, nothing is told.
    """
    needed = _MACROS.get(dataset.SOPClassUID)
    if needed is None:
        return
    shared, frames = (list(dataset.get(keyword) or []) for keyword in (_SHARED, _PER_FRAME))
    n_frames = int(dataset.get("NumberOfFrames") or 0)
    if len(frames) != n_frames:
        yield f"{_PER_FRAME} describes {len(frames)} frames where NumberOfFrames is {n_frames}"
    for macro in needed:
        if not any(_has(item, macro) for item in shared) and not (frames and all(_has(item, macro) for item in frames)):
            yield f"{macro} is neither shared nor in every frame"
    yield from _twice(shared, frames)
    if any("FrameContentSequence" in item for item in shared):
        yield "FrameContentSequence is shared, though every frame has its own"
    yield from _dimensions(dataset, frames)


def _has(groups: Dataset, macro: str) -> bool:
    return bool(groups.get(macro))


def _twice(shared: Sequence[Dataset], frames: Sequence[Dataset]) -> Iterator[str]:
    """Find macros that are shared and in a frame as well, which leaves open which of them counts."""
    own = {element.keyword for item in frames for element in item}
    for item in shared:
        yield from (f"{name} is shared and in a frame" for name in sorted(own & {element.keyword for element in item}))


def _dimensions(dataset: Dataset, frames: Sequence[Dataset]) -> Iterator[str]:
    n_dimensions = len(dataset.get("DimensionIndexSequence") or [])
    for number, frame in enumerate(frames, start=1):
        for content in frame.get("FrameContentSequence") or []:
            place = f"{_PER_FRAME}[{number}].FrameContentSequence[1]"
            found = content["DimensionIndexValues"].VM if "DimensionIndexValues" in content else 0
            if found != n_dimensions:
                yield f"{place}.DimensionIndexValues has {found} values for {n_dimensions} dimensions"
            if ("StackID" in content) != ("InStackPositionNumber" in content):
                yield f"{place} has only one of StackID and InStackPositionNumber"
