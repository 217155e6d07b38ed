"""One way to ask for an attribute of a frame, whether the object is a classic image or holds hundreds of frames.

An Enhanced MR object keeps an attribute in the functional groups of the frame, in those shared by all frames, or at its
top level (PS3.3 C.7.6.16); a Legacy Converted one keeps the rest in its "unassigned" sequences (PS3.3 C.7.6.16.2.21).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from dicom_io.errors import MissingAttribute
from dicom_io.instance import PARSING_FAILURES, attribute, named, number, text

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CONVERTED_ENHANCED_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4.4"
MULTI_FRAME = (ENHANCED_MR_IMAGE, LEGACY_CONVERTED_ENHANCED_MR_IMAGE)
IMAGES = (MR_IMAGE, *MULTI_FRAME)

MACRO_OF = {
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "FrameType": "MRImageFrameTypeSequence",
    "AcquisitionContrast": "MRImageFrameTypeSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "EchoNumbers": "MREchoSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "ReceiveCoilName": "MRReceiveCoilSequence",
    "MRAcquisitionFrequencyEncodingSteps": "MRFOVGeometrySequence",
    "MRAcquisitionPhaseEncodingStepsInPlane": "MRFOVGeometrySequence",
    "VolumetricProperties": "MRImageFrameTypeSequence",
    "VolumeBasedCalculationTechnique": "MRImageFrameTypeSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "InversionRecovery": "MRModifierSequence",
    "TransmitterFrequency": "MRImagingModifierSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "DiffusionDirectionality": "MRDiffusionSequence",
    "EchoTrainLength": "MRTimingAndRelatedParametersSequence",
}


@dataclass(frozen=True)
class FrameView:
    """One frame's attributes. `groups` are searched in order; a classic image has none."""

    dataset: Dataset
    groups: tuple[Dataset, ...] = ()
    frame_number: int | None = None

    def get(self, keyword: str) -> object:
        """Return the value of a public attribute for this frame, or None."""
        macro = MACRO_OF.get(keyword)
        for group in self.groups:
            for sequence in (
                macro,
                "UnassignedPerFrameConvertedAttributesSequence",
                "UnassignedSharedConvertedAttributesSequence",
            ):
                item = _first_item(group, sequence) if sequence else None
                if item is not None and keyword in item:
                    return attribute(item, keyword)
        return attribute(self.dataset, keyword)

    def item(self, keyword: str) -> Dataset | None:
        """Return the first item of a sequence for this frame, or None."""
        for group in (*self.groups, self.dataset):
            found = _first_item(group, keyword)
            if found is not None:
                return found
        return None

    def private(self, creator: str, group: int, offset: int) -> object:
        """Return the value of a private attribute for this frame, or None.

        The creator's block is looked up, because its number differs from object to object (PS3.5 section 7.8.1).
        """
        for holder in self._private_holders():
            try:
                return holder.private_block(group, creator)[offset].value
            except PARSING_FAILURES:
                continue
        return None

    def _private_holders(self) -> Iterator[Dataset]:
        # Philips keeps a frame's classic attributes in (2005,xx0F), Siemens XA in (0021,xxFE), of the frame's groups.
        for group in self.groups:
            for creator, element_group, offset in (
                ("Philips MR Imaging DD 005", 0x2005, 0x0F),
                ("Philips MR Imaging DD 005", 0x2005, 0x0E),
                ("SIEMENS MR SDI 02", 0x0021, 0xFE),
                ("SIEMENS MR SDS 01", 0x0021, 0xFE),
            ):
                try:
                    yield group.private_block(element_group, creator)[offset].value[0]
                except PARSING_FAILURES:
                    continue
            frame_type = _first_item(group, "MRImageFrameTypeSequence")
            if frame_type is not None:
                yield frame_type
            yield group
        yield self.dataset


def frames_of(dataset: Dataset) -> Sequence[FrameView]:
    """Return one view per frame of an image object.

    Raises
    ------
    MissingAttribute
        A multi-frame object lacks the functional groups of some of its frames.
    """
    if text(attribute(dataset, "SOPClassUID")) not in MULTI_FRAME:
        return [FrameView(dataset)]
    per_frame = attribute(dataset, "PerFrameFunctionalGroupsSequence") or []
    n_frames = int(number(attribute(dataset, "NumberOfFrames"), "NumberOfFrames") or 0)
    if n_frames < 1 or len(per_frame) != n_frames:
        raise MissingAttribute(
            f"{named('NumberOfFrames')} says {n_frames}, but {named('PerFrameFunctionalGroupsSequence')} describes "
            f"{len(per_frame)} frames; ask the sender to send the object again."
        )
    shared = tuple(attribute(dataset, "SharedFunctionalGroupsSequence") or ())[:1]
    return [FrameView(dataset, (item, *shared), number) for number, item in enumerate(per_frame, start=1)]


def _first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    sequence = attribute(dataset, keyword)
    return sequence[0] if isinstance(sequence, Sequence) and sequence else None
