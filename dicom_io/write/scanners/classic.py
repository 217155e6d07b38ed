"""What every manufacturer's classic MR Image has in common: identity, equipment, gradient echo, grid and pixels."""

import copy
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.write.identity import derived_uid
from dicom_io.write.scanner import describe_examination
from dicom_io.write.scanners.scan import Place, Scan

_SERIES_GAP = timedelta(seconds=20)


@dataclass(frozen=True)
class Equipment:
    """A scanner as its own headers name it."""

    manufacturer: str
    model: str
    software: tuple[str, ...]
    serial_number: str
    station: str


def header(scan: Scan, equipment: Equipment, character_set: str = "ISO_IR 100") -> Dataset:
    """Return what all objects of a scan share, classic or enhanced: who, when, on what, in which frame of reference."""
    image = Dataset()
    image.SpecificCharacterSet = character_set
    describe_examination(image, scan.examination)
    image.Manufacturer = equipment.manufacturer
    image.ManufacturerModelName = equipment.model
    image.StationName = equipment.station
    image.DeviceSerialNumber = equipment.serial_number
    image.SoftwareVersions = list(equipment.software)
    image.FrameOfReferenceUID = scan.geometry.frame_of_reference_uid
    image.PositionReferenceIndicator = None
    image.PatientPosition = "HFS"
    image.MRAcquisitionType = "3D"
    image.MagneticFieldStrength = format_number_as_ds(scan.magnetic_field_strength_t)
    image.Rows, image.Columns = scan.geometry.shape[1:]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    return image


def classic_header(scan: Scan, equipment: Equipment, character_set: str = "ISO_IR 100") -> Dataset:
    """Return what all classic images of a scan share (PS3.3 C.8.3.1)."""
    geometry, image = scan.geometry, header(scan, equipment, character_set)
    image.SOPClassUID = MRImageStorage
    image.ScanningSequence = "GR"
    image.SequenceVariant = "SP"
    image.ScanOptions = None
    image.RepetitionTime = format_number_as_ds(scan.examination.repetition_time_ms)
    image.FlipAngle = format_number_as_ds(scan.examination.flip_angle_deg)
    image.NumberOfAverages = "1"
    image.EchoTrainLength = scan.n_echoes
    image.ImagingFrequency = format_number_as_ds(scan.frequency_mhz)
    image.ImagedNucleus = "1H"
    image.ImageOrientationPatient = decimals(*geometry.row_direction, *geometry.column_direction)
    image.PixelSpacing = decimals(*geometry.pixel_spacing)
    image.SliceThickness = image.SpacingBetweenSlices = format_number_as_ds(round(geometry.voxel_size_mm[0], 4))
    return image


def classic_image(shared: Dataset, scan: Scan, place: Place, series_uid: str, number: int) -> Dataset:
    """Return one classic image of a series, without pixels: its own elements and a copy of the shared ones."""
    image = copy.deepcopy(shared)
    image.SeriesInstanceUID = series_uid
    image.SOPInstanceUID = derived_uid(series_uid, place.part, str(place.echo), str(place.index))
    image.InstanceNumber = number
    image.EchoTime = format_number_as_ds(scan.echo_time_ms(place.echo))
    image.EchoNumbers = place.echo + 1
    position = scan.geometry.position(place.index)
    image.ImagePositionPatient = decimals(*position)
    image.SliceLocation = format_number_as_ds(round(float(np.dot(scan.geometry.normal, position)), 6))
    return image


def later_series(image: Dataset, scan: Scan, number: int) -> None:
    """Make an image the `number`th series of its acquisition: other SeriesNumber and SeriesTime, same acquisition."""
    begun = scan.examination.started_at + number * _SERIES_GAP
    image.SeriesNumber = scan.examination.series_number + number
    image.SeriesDate, image.SeriesTime = f"{begun:%Y%m%d}", f"{begun:%H%M%S}"


def rescale(image: Dataset, slope: float, intercept: float, unit: str = "") -> tuple[float, float]:
    """Write RescaleSlope and RescaleIntercept, and return them as the header now says them."""
    image.RescaleSlope, image.RescaleIntercept = decimals(slope, intercept)
    if unit:
        image.RescaleType = unit
    return float(image.RescaleSlope), float(image.RescaleIntercept)


def put_pixels(image: Dataset, stored: np.ndarray, bits_stored: int, is_signed: bool) -> None:
    """Store whole numbers as 16-bit pixel data, frames in order (PS3.5 8.1)."""
    image.BitsAllocated = 16
    image.BitsStored = bits_stored
    image.HighBit = bits_stored - 1
    image.PixelRepresentation = int(is_signed)
    lowest = -(2 ** (bits_stored - 1)) if is_signed else 0
    whole = np.clip(np.rint(stored), lowest, lowest + 2**bits_stored - 1)
    image.PixelData = whole.astype("<i2" if is_signed else "<u2").tobytes()
    image["PixelData"].VR = "OW"


def decimals(*numbers: float) -> list[str]:
    """Return numbers as decimal strings of at most 16 characters (PS3.5 6.2)."""
    return [format_number_as_ds(float(number)) for number in numbers]
