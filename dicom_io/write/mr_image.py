"""Write a map as classic MR images, one per slice, that every viewer shows in the same units."""

from enum import StrEnum

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.codes import SUSCEPTIBILITY_MAPPING, code_item
from dicom_io.series import SourceSeries
from dicom_io.write.identity import CLASSICAL_SERIES_OFFSET, SUSCEPTIBILITY_SERIES_OFFSET, array_digest, derived_uid
from dicom_io.write.map_images import (
    MapDescription,
    describe_acquisition,
    describe_identity_rescale,
    describe_map,
    describe_pixels,
    describe_spacing,
    describe_window,
    orientation,
    position,
    real_world_values,
    require_shape,
    source_images,
    to_stored,
)
from dicom_io.write.provenance import RunDescription, derivation_description
from dicom_io.write.real_world_values import LARGEST_STORED, SUSCEPTIBILITY_IN_PPB, SUSCEPTIBILITY_IN_PPM

WINDOW_CENTER_PPB = 0
WINDOW_WIDTH_PPB = 400
LARGEST_PPB = LARGEST_STORED


class MapRole(StrEnum):
    """Which map of a run a series holds: its only one, or one of a recipe with a network.

    `LEARNED` is the network's; `CLASSICAL` stands in its place because a check failed; `TWIN` is the classical map that
    is kept beside the network's.
    """

    ONLY = ""
    LEARNED = "learned"
    CLASSICAL = "classical"
    TWIN = "classical twin"

    @property
    def maker(self) -> str:
        """Return "learned" or "classical", or nothing where there is no choice."""
        return self.value.split()[0] if self.value else ""


def to_stored_ppb(susceptibility_ppb: np.ndarray) -> tuple[np.ndarray, int]:
    """Round a map to the int16 values that are stored, and count the voxels that had to be clipped.

    Parameters
    ----------
    susceptibility_ppb
        Any shape [ppb].

    Raises
    ------
    InvalidObject
        There is NaN or infinity: a map with holes is not to be sent.
    """
    return to_stored(susceptibility_ppb, "susceptibility map")


def describe_susceptibility(
    source: SourceSeries, run: RunDescription, role: MapRole, clipped_voxels: int
) -> MapDescription:
    """Return how a susceptibility map in ppb is named, numbered, explained and shown."""
    is_twin = role == MapRole.TWIN
    return MapDescription(
        identity=("susceptibility", *((role.value,) if role else ())),
        title=" ".join(filter(None, ("QSM", role.maker, "[ppb]"))),
        contrast=("QSM", *((role.maker.upper(),) if role else ())),
        series_offset=CLASSICAL_SERIES_OFFSET if is_twin else SUSCEPTIBILITY_SERIES_OFFSET,
        derivation=derivation_description(source, run, clipped_voxels),
        derivation_code=SUSCEPTIBILITY_MAPPING,
        window=(WINDOW_CENTER_PPB, WINDOW_WIDTH_PPB),
        window_explanation="-200 to 200 ppb",
        mappings=(SUSCEPTIBILITY_IN_PPM, SUSCEPTIBILITY_IN_PPB),
    )


def susceptibility_series(
    susceptibility_ppb: np.ndarray, source: SourceSeries, run: RunDescription, role: MapRole = MapRole.ONLY
) -> list[Dataset]:
    """Write a map as one MR Image Storage object per slice, in the source's geometry.

    Equal map, source and run give equal UIDs and equal bytes. PS3.3 A.4; the real world value mapping is that of
    C.7.6.16.2.11.

    Parameters
    ----------
    susceptibility_ppb
        `(z, y, x)` [ppb], paramagnetic positive, 0 outside the mask.
    source
        What the map was made of; its template gives patient, study and scanner.
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
    return image_series(stored, source, run, describe_susceptibility(source, run, role, clipped))


def image_series(stored: np.ndarray, source: SourceSeries, run: RunDescription, shown: MapDescription) -> list[Dataset]:
    """Write stored values as one MR Image Storage object per slice (PS3.3 A.4).

    Parameters
    ----------
    stored
        `(z, y, x)` int16, whole numbers of the map's unit, on the source's grid.
    source
        What the map was made of.
    run
        What made the map.
    shown
        How it is named and shown.
    """
    shared = _shared_by_all_slices(source, run, shown)
    uid_parts = (*shown.identity, shared.StudyInstanceUID, *run.identity, array_digest(stored))
    shared.SeriesInstanceUID = derived_uid(*uid_parts)
    return [_slice(shared, stored, index, source, uid_parts) for index in range(len(stored))]


def _shared_by_all_slices(source: SourceSeries, run: RunDescription, shown: MapDescription) -> Dataset:
    image = Dataset()
    image.SOPClassUID = MRImageStorage
    describe_map(image, source, run, shown)
    image.ImageType = ["DERIVED", "PRIMARY", "OTHER", *shown.contrast]
    image.DerivationDescription = shown.derivation
    image.DerivationCodeSequence = [code_item(shown.derivation_code)]
    describe_acquisition(image, source)
    image.ImageOrientationPatient = orientation(source.geometry)
    describe_spacing(image, source)
    describe_pixels(image, source.geometry)
    describe_identity_rescale(image)
    describe_window(image, shown)
    image.RealWorldValueMappingSequence = real_world_values(shown)
    return image


def _slice(
    shared: Dataset, stored: np.ndarray, index: int, source: SourceSeries, uid_parts: tuple[str, ...]
) -> Dataset:
    image = Dataset()
    image.update(shared)
    geometry = source.geometry
    image.SOPInstanceUID = derived_uid(*uid_parts, str(index))
    image.InstanceNumber = index + 1
    image.ImagePositionPatient = position(geometry, index)
    image.SliceLocation = format_number_as_ds(round(float(np.dot(geometry.normal, geometry.position(index))), 6))
    image.SourceImageSequence = source_images(source.frames[index])
    image.PixelData = stored[index].tobytes()
    image["PixelData"].VR = "OW"
    return image
