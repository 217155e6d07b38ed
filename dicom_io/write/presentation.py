"""Write how the susceptibility images are to be shown, for viewers that take a window from a presentation state."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.uid import GrayscaleSoftcopyPresentationStateStorage

from dicom_io.errors import InvalidObject
from dicom_io.series import SourceSeries
from dicom_io.write.derived import copy_identity, describe_making
from dicom_io.write.identity import PRESENTATION_SERIES_OFFSET, derived_uid, series_number
from dicom_io.write.mr_image import WINDOW_CENTER_PPB, WINDOW_WIDTH_PPB
from dicom_io.write.provenance import RunDescription
from dicom_io.write.report_items import GRID_ATTRIBUTES, drop_attributes

CONTENT_LABEL = "QSM_400_PPB"
_LOWEST_PPB = WINDOW_CENTER_PPB - WINDOW_WIDTH_PPB // 2
_WINDOW = f"{_LOWEST_PPB} to {_LOWEST_PPB + WINDOW_WIDTH_PPB} ppb"


def presentation_state(images: Sequence[Dataset], source: SourceSeries, run: RunDescription) -> Dataset:
    """Write one Grayscale Softcopy Presentation State for all images of the map (PS3.3 A.33.1).

    It asks for the window that every image carries itself, the whole image, and pixels of their true shape.

    Parameters
    ----------
    images
        The susceptibility images [ppb] of one series, classic or enhanced.
    source
        What the map was made of.
    run
        What made the map.

    Raises
    ------
    InvalidObject
        There is no image, or the images are of several series.
    """
    if len({image.SeriesInstanceUID for image in images}) != 1:
        message = "A presentation state needs the images of exactly one series."
        raise InvalidObject(message)
    uid_parts = ("presentation", *(image.SOPInstanceUID for image in images), *run.identity)
    state = Dataset()
    state.SOPClassUID = GrayscaleSoftcopyPresentationStateStorage
    state.SOPInstanceUID = derived_uid(*uid_parts, "instance")
    copy_identity(state, source)
    describe_making(state, source, run, "QSM window")
    # A presentation state has a creation date and no content date.
    state.PresentationCreationDate, state.PresentationCreationTime = state.ContentDate, state.ContentTime
    drop_attributes(state, (*GRID_ATTRIBUTES, "ContentDate", "ContentTime"))
    state.SeriesInstanceUID = derived_uid(*uid_parts, "series")
    state.SeriesNumber = series_number(source.template.get("SeriesNumber"), PRESENTATION_SERIES_OFFSET)
    state.Modality = "PR"
    _describe_content(state)
    state.ReferencedSeriesSequence = [_referenced_series(images)]
    state.DisplayedAreaSelectionSequence = [_whole_image(images[0])]
    _describe_grey_scale(state)
    return state


def _describe_content(state: Dataset) -> None:
    state.InstanceNumber = 1
    state.ContentLabel = CONTENT_LABEL
    state.ContentDescription = f"Susceptibility from {_WINDOW}, zero in middle grey"
    state.ContentCreatorName = None


def _referenced_series(images: Sequence[Dataset]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = images[0].SeriesInstanceUID
    series.ReferencedImageSequence = [_reference(image) for image in images]
    return series


def _reference(image: Dataset) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = image.SOPClassUID
    item.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return item


def _whole_image(image: Dataset) -> Dataset:
    """Show every pixel, fitted to the screen; the spacing keeps pixels that are not square in their shape."""
    item = Dataset()
    item.DisplayedAreaTopLeftHandCorner = [1, 1]
    item.DisplayedAreaBottomRightHandCorner = [image.Columns, image.Rows]
    item.PresentationSizeMode = "SCALE TO FIT"
    item.PresentationPixelSpacing = pixel_spacing(image)
    return item


def pixel_spacing(image: Dataset) -> list[float]:
    """Return PixelSpacing [mm], between rows and between columns, of a classic or an enhanced image."""
    if "PixelSpacing" in image:
        return list(image.PixelSpacing)
    shared = image.SharedFunctionalGroupsSequence[0]
    return list(shared.PixelMeasuresSequence[0].PixelSpacing)


def _describe_grey_scale(state: Dataset) -> None:
    state.RescaleIntercept, state.RescaleSlope, state.RescaleType = "0", "1", "US"
    window = Dataset()
    window.WindowCenter, window.WindowWidth = str(WINDOW_CENTER_PPB), str(WINDOW_WIDTH_PPB)
    window.WindowCenterWidthExplanation = _WINDOW
    # Without a list of images in it the window holds for every image that the state refers to (PS3.3 C.11.8).
    state.SoftcopyVOILUTSequence = [window]
    state.PresentationLUTShape = "IDENTITY"
