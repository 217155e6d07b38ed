"""Write the susceptibility as a Parametric Map: the same values in ppm as they were computed, not rounded."""

from collections.abc import Sequence

import highdicom
import numpy as np
from highdicom.pm import DerivedPixelContrastValues, ImageFlavorValues, ParametricMap, RealWorldValueMapping
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codes import SUSCEPTIBILITY_MAPPING
from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, describe_making, without_identity
from dicom_io.write.identity import PARAMETRIC_MAP_SERIES_OFFSET, array_digest, derived_uid, series_number
from dicom_io.write.map_images import frame_anatomy, require_finite, require_shape, source_frames
from dicom_io.write.mr_image import MapRole
from dicom_io.write.provenance import MANUFACTURER, RunDescription, derivation_description, plain_text
from dicom_io.write.real_world_values import SUSCEPTIBILITY_IN_PPM
from dicom_io.write.source_references import add_evidence

WINDOW_CENTER_PPM = 0.0
WINDOW_WIDTH_PPM = 0.4
_VALUES = "Values in ppm, paramagnetic positive."


def parametric_map(
    susceptibility_ppm: np.ndarray,
    images: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
    role: MapRole = MapRole.ONLY,
) -> Dataset:
    """Write a susceptibility map as one Parametric Map object of float32 values in ppm (PS3.3 A.75).

    Every frame refers to the susceptibility image of its slice, over which viewers lay it, and to all source frames of
    the slice. Equal input gives equal bytes.

    Parameters
    ----------
    susceptibility_ppm
        `(z, y, x)` [ppm], paramagnetic positive.
    images
        The susceptibility images of the same map: one object per slice in the order of z, or one enhanced object.
    source
        What the map was made of.
    run
        What made the map.
    role
        Which of the run's maps it is; the series' name says so.

    Raises
    ------
    InvalidObject
        The shape is not the source's, there is not one image per slice, or values are not finite.
    """
    require_shape(susceptibility_ppm, source)
    require_finite(susceptibility_ppm, "susceptibility map")
    n_images = sum(int(image.get("NumberOfFrames") or 1) for image in images)
    if n_images != len(susceptibility_ppm):
        message = f"The map has {len(susceptibility_ppm)} slices but {n_images} susceptibility images were given."
        raise InvalidObject(message)
    # Without -0.0, which is the same value in other bytes.
    values = susceptibility_ppm.astype(np.float32) + np.float32(0.0)
    uid_parts = ("parametric map", images[0].SeriesInstanceUID, *run.identity, array_digest(values))
    made = _made_by_highdicom(values, images, source, run, uid_parts)
    copy_identity(made, source)
    describe_making(made, source, run, " ".join(filter(None, ("QSM map", role.maker, "[ppm]"))))
    # PS3.3 C.8.32.1: a map of one modality has that modality.
    made.Modality = "MR"
    if not run.research_use_only:
        made.ContentQualification = "PRODUCT"
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [frame_anatomy(made, source)]
    _order_by_slice(made, values, images)
    _describe_frames(made, source, run)
    add_evidence(made, source, images)
    organisation = derived_uid(*uid_parts, "dimensions")
    for item in [*made.DimensionOrganizationSequence, *made.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organisation
    return made


def _made_by_highdicom(
    values: np.ndarray,
    images: Sequence[Dataset],
    source: SourceSeries,
    run: RunDescription,
    uid_parts: tuple[str, ...],
) -> ParametricMap:
    # A window narrower than 1 is not defined for the plain LINEAR function (PS3.3 C.11.2.1.2.1).
    window = highdicom.VOILUTTransformation(
        window_center=[WINDOW_CENTER_PPM],
        window_width=[WINDOW_WIDTH_PPM],
        window_explanation=["-0.2 to 0.2 ppm"],
        voi_lut_function=highdicom.VOILUTFunctionValues.LINEAR_EXACT,
    )
    return ParametricMap(
        source_images=without_identity(images),
        pixel_array=values,
        series_instance_uid=derived_uid(*uid_parts, "series"),
        series_number=series_number(source.template.get("SeriesNumber"), PARAMETRIC_MAP_SERIES_OFFSET),
        sop_instance_uid=derived_uid(*uid_parts, "instance"),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MANUFACTURER,
        software_versions=plain_text(run.software_version, 64),
        device_serial_number=plain_text(run.node_ae_title, 64),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[_mapping()],
        voi_lut_transformations=[window],
        content_label="QSM_PPM",
        content_description="Magnetic susceptibility in ppm",
        image_flavor=ImageFlavorValues.VOLUME,
        derived_pixel_contrast=DerivedPixelContrastValues.QUANTITY,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        derivation=SUSCEPTIBILITY_MAPPING,
    )


def _mapping() -> RealWorldValueMapping:
    """Map every float32 onto itself: the stored value is the value in ppm."""
    limit = float(np.finfo(np.float32).max)
    return RealWorldValueMapping(
        lut_label=SUSCEPTIBILITY_IN_PPM.label,
        lut_explanation=SUSCEPTIBILITY_IN_PPM.explanation,
        unit=SUSCEPTIBILITY_IN_PPM.unit,
        value_range=(-limit, limit),
        slope=1.0,
        intercept=0.0,
        quantity_definition=SUSCEPTIBILITY_IN_PPM.quantity,
    )


def _order_by_slice(made: Dataset, values: np.ndarray, images: Sequence[Dataset]) -> None:
    """Put the frames into the order of the slices; highdicom sorts them by position, which may be the other way."""
    slice_of = {image.SOPInstanceUID: index for index, image in enumerate(images)}

    def place(frame: Dataset) -> tuple[int, int]:
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
        return slice_of[reference.ReferencedSOPInstanceUID], int(reference.get("ReferencedFrameNumber") or 0)

    frames = sorted(made.PerFrameFunctionalGroupsSequence, key=place)
    for number, frame in enumerate(frames, start=1):
        frame.FrameContentSequence[0].DimensionIndexValues = number
    made.PerFrameFunctionalGroupsSequence = frames
    made.FloatPixelData = values.astype("<f4").tobytes()


def _describe_frames(made: Dataset, source: SourceSeries, run: RunDescription) -> None:
    """Add the derivation text and the source frames to what each frame refers to.

    The susceptibility image stays first: viewers take the first reference for the image to lay the map over.
    """
    text = derivation_description(source, run, values=_VALUES)
    for frame, used in zip(made.PerFrameFunctionalGroupsSequence, source.frames, strict=True):
        derivation = frame.DerivationImageSequence[0]
        derivation.DerivationDescription = text
        derivation.SourceImageSequence.extend(source_frames(used))
