"""Write a susceptibility map as one Enhanced MR Image, for sites that work with multi-frame objects.

Stored values, window and meaning are those of the classic images: ppb, slope 1, intercept 0.
"""

import numpy as np
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import EnhancedMRImageStorage

from dicom_io.codes import code_item
from dicom_io.series import SourceSeries
from dicom_io.write.acquisition_macros import acquisition_contrast, acquisition_macros, describe_instance
from dicom_io.write.derived import copy_attribute
from dicom_io.write.identity import array_digest, derived_uid
from dicom_io.write.map_images import (
    MapDescription,
    describe_identity_rescale,
    describe_map,
    describe_pixels,
    describe_spacing,
    describe_window,
    frame_anatomy,
    orientation,
    position,
    real_world_values,
    require_shape,
    source_frames,
)
from dicom_io.write.mr_image import MapRole, describe_susceptibility, to_stored_ppb
from dicom_io.write.provenance import RunDescription
from dicom_io.write.source_references import add_evidence, source_evidence

_STACK = "1"


def enhanced_susceptibility(
    susceptibility_ppb: np.ndarray, source: SourceSeries, run: RunDescription, role: MapRole = MapRole.ONLY
) -> Dataset:
    """Write a map as one Enhanced MR Image Storage object, a frame per slice, in the source's geometry (PS3.3 A.36).

    Equal map, source and run give equal bytes. No private attribute of the source is copied.

    Parameters
    ----------
    susceptibility_ppb
        `(z, y, x)` [ppb], paramagnetic positive, 0 outside the mask.
    source
        What the map was made of; how it was acquired is taken from its functional groups, or from a classic header.
    run
        What made the map.
    role
        Which of the run's maps it is; the series' name says so.

    Raises
    ------
    InvalidObject
        The shape is not the source's, or values are not finite.
    """
    require_shape(susceptibility_ppb, source)
    stored, clipped = to_stored_ppb(susceptibility_ppb)
    shown = describe_susceptibility(source, run, role, clipped)
    image = Dataset()
    image.SOPClassUID = EnhancedMRImageStorage
    describe_map(image, source, run, shown)
    uid_parts = ("enhanced", *shown.identity, image.StudyInstanceUID, *run.identity, array_digest(stored))
    image.SeriesInstanceUID = derived_uid(*uid_parts, "series")
    image.SOPInstanceUID = derived_uid(*uid_parts, "instance")
    image.InstanceNumber = 1
    _describe_image(image, source, run)
    _describe_dimensions(image, derived_uid(*uid_parts, "dimensions"))
    image.SharedFunctionalGroupsSequence = [_shared_groups(image, source, shown)]
    image.PerFrameFunctionalGroupsSequence = [_frame_groups(index, source, shown) for index in range(len(stored))]
    add_evidence(image, source)
    image.SourceImageEvidenceSequence = source_evidence(source)
    image.PixelData = stored.tobytes()
    image["PixelData"].VR = "OW"
    return image


def _describe_image(image: Dataset, source: SourceSeries, run: RunDescription) -> None:
    """Write what the Enhanced MR Image module states of all frames (PS3.3 C.8.13.1)."""
    image.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "QSM"]
    _describe_contrast(image, source)
    image.ContentQualification = "RESEARCH" if run.research_use_only else "PRODUCT"
    image.PresentationLUTShape = "IDENTITY"
    image.AcquisitionContextSequence = []
    image.NumberOfFrames = source.geometry.shape[0]
    image.MagneticFieldStrength = source.magnetic_field_strength_t
    describe_pixels(image, source.geometry)
    describe_instance(image, source.template)
    for keyword in ("AcquisitionNumber", "AcquisitionDateTime", "ProtocolName"):
        copy_attribute(image, source.template, keyword)


def _describe_contrast(target: Dataset, source: SourceSeries) -> None:
    target.PixelPresentation = "MONOCHROME"
    target.VolumetricProperties = "VOLUME"
    target.VolumeBasedCalculationTechnique = "NONE"
    # A map has values of both signs, as the real part has; no term says "not a component at all".
    target.ComplexImageComponent = "REAL"
    target.AcquisitionContrast = acquisition_contrast(source.template)


def _describe_dimensions(image: Dataset, organisation_uid: str) -> None:
    """Order the frames by their place in one stack (PS3.3 C.7.6.17)."""
    organisation = Dataset()
    organisation.DimensionOrganizationUID = organisation_uid
    image.DimensionOrganizationSequence = [organisation]
    image.DimensionOrganizationType = "3D"
    indices = []
    for keyword, label in (("StackID", "Stack ID"), ("InStackPositionNumber", "In-Stack Position Number")):
        index = Dataset()
        index.DimensionOrganizationUID = organisation_uid
        index.DimensionIndexPointer = tag_for_keyword(keyword)
        index.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
        index.DimensionDescriptionLabel = label
        indices.append(index)
    image.DimensionIndexSequence = indices


def _shared_groups(image: Dataset, source: SourceSeries, shown: MapDescription) -> Dataset:
    groups = acquisition_macros(source.template)
    frame_type, measures, plane, rescale, window = (Dataset() for _ in range(5))
    frame_type.FrameType = image.ImageType
    _describe_contrast(frame_type, source)
    groups.MRImageFrameTypeSequence = [frame_type]
    describe_spacing(measures, source)
    groups.PixelMeasuresSequence = [measures]
    plane.ImageOrientationPatient = orientation(source.geometry)
    groups.PlaneOrientationSequence = [plane]
    groups.FrameAnatomySequence = [frame_anatomy(image, source)]
    describe_identity_rescale(rescale)
    groups.PixelValueTransformationSequence = [rescale]
    describe_window(window, shown)
    groups.FrameVOILUTSequence = [window]
    groups.RealWorldValueMappingSequence = real_world_values(shown)
    return groups


def _frame_groups(index: int, source: SourceSeries, shown: MapDescription) -> Dataset:
    groups, content, plane, derivation = (Dataset() for _ in range(4))
    content.StackID = _STACK
    content.InStackPositionNumber = index + 1
    content.DimensionIndexValues = [1, index + 1]
    groups.FrameContentSequence = [content]
    plane.ImagePositionPatient = position(source.geometry, index)
    groups.PlanePositionSequence = [plane]
    derivation.DerivationDescription = shown.derivation
    derivation.DerivationCodeSequence = [code_item(shown.derivation_code)]
    derivation.SourceImageSequence = source_frames(source.frames[index])
    groups.DerivationImageSequence = [derivation]
    return groups
