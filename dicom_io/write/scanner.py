"""Write what a scanner would send: a simulated multi-echo gradient-echo acquisition as classic MR images.

The encoding is that of Siemens syngo MR E11: ImageType `M` and `P` in one series, phase stored as 0…4095 with slope 2
and intercept −4096, so that ±4096 stands for ±π.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.geometry import Geometry
from dicom_io.write.identity import derived_uid

SIMULATED_MANUFACTURER = "Lodestone"
SIMULATED_MODEL = "Simulated scanner"
GYROMAGNETIC_RATIO_MHZ_PER_T = 42.577478518
_LARGEST_MAGNITUDE = 4000
_PHASE_STEPS = 4096


@dataclass(frozen=True, kw_only=True)
class Examination:
    """Who is scanned, when and how; everything else about the images follows from the acquisition.

    `seed` decides every UID: equal seeds make equal objects. `repetition_time_ms` [ms], `flip_angle_deg` [degrees].
    """

    seed: str = "demo"
    patient_name: str = "Phantom^Head"
    patient_id: str = "LODESTONE-PHANTOM"
    accession_number: str = "SIM0001"
    protocol_name: str = "qsm_megre_3d"
    started_at: datetime = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
    series_number: int = 5
    repetition_time_ms: float = 40.0
    flip_angle_deg: float = 15.0


def scanner_series(
    magnitude: np.ndarray,
    phase: np.ndarray,
    echo_times_s: Sequence[float],
    geometry: Geometry,
    magnetic_field_strength_t: float,
    examination: Examination | None = None,
) -> list[Dataset]:
    """Write magnitude and phase as one series in the order a scanner sends it.

    Every object declares the number of all images (ImagesInAcquisition), so that a receiver can know when it has
    everything.

    Parameters
    ----------
    magnitude
        `(echo, z, y, x)`, any unit.
    phase
        `(echo, z, y, x)` [rad], growing with the field.
    echo_times_s
        One per echo [s].
    geometry
        The grid of every echo.
    magnetic_field_strength_t
        [T].
    examination
        Who is scanned and when; the demonstration's patient where absent.

    Raises
    ------
    ValueError
        Shapes, echo times and geometry do not agree.
    """
    expected = (len(echo_times_s), *geometry.shape)
    if magnitude.shape != expected or phase.shape != expected:
        message = f"magnitude {magnitude.shape} and phase {phase.shape} must both have shape {expected}"
        raise ValueError(message)
    examination = examination or Examination()
    shared = _shared(examination, geometry, magnetic_field_strength_t, len(echo_times_s))
    shared.ImagesInAcquisition = 2 * magnitude.shape[0] * magnitude.shape[1]
    stored = {"M": stored_magnitude(magnitude), "P": stored_phase(phase)}
    return [
        _image(shared, part, stored[part][echo, index], (echo, index), echo_times_s[echo], geometry, number)
        for number, (part, echo, index) in enumerate(_order(magnitude.shape), start=1)
    ]


def stored_magnitude(magnitude: np.ndarray) -> np.ndarray:
    """Scale a magnitude of any unit to 12 bits, one factor for all echoes, so that decay over the echoes is kept."""
    largest = float(magnitude.max()) or 1.0
    return np.rint(np.clip(magnitude, 0.0, None) * (_LARGEST_MAGNITUDE / largest)).astype("<u2")


def stored_phase(phase: np.ndarray) -> np.ndarray:
    """Write phase [rad] as 0…4095; 0 is −π, and +π is the same angle and becomes 0 as well."""
    steps = np.rint((np.asarray(phase, np.float64) / np.pi + 1.0) * (_PHASE_STEPS // 2))
    return np.mod(steps, _PHASE_STEPS).astype("<u2")


def _order(shape: tuple[int, ...]) -> Iterator[tuple[str, int, int]]:
    for part in ("M", "P"):
        for index in range(shape[1]):
            for echo in range(shape[0]):
                yield part, echo, index


def _shared(examination: Examination, geometry: Geometry, field_t: float, n_echoes: int) -> Dataset:
    image = Dataset()
    image.SpecificCharacterSet = "ISO_IR 100"
    image.SOPClassUID = MRImageStorage
    describe_examination(image, examination)
    image.Manufacturer = SIMULATED_MANUFACTURER
    image.ManufacturerModelName = SIMULATED_MODEL
    image.DeviceSerialNumber = "0"
    image.SoftwareVersions = "1"
    image.FrameOfReferenceUID = geometry.frame_of_reference_uid
    image.PositionReferenceIndicator = None
    image.PatientPosition = "HFS"
    image.ScanningSequence = "GR"
    image.SequenceVariant = "SP"
    image.ScanOptions = None
    image.MRAcquisitionType = "3D"
    image.SequenceName = f"*fl3d{n_echoes}r"
    image.RepetitionTime = format_number_as_ds(examination.repetition_time_ms)
    image.FlipAngle = format_number_as_ds(examination.flip_angle_deg)
    image.EchoTrainLength = n_echoes
    image.MagneticFieldStrength = format_number_as_ds(field_t)
    image.ImagingFrequency = format_number_as_ds(round(field_t * GYROMAGNETIC_RATIO_MHZ_PER_T, 6))
    image.ImagedNucleus = "1H"
    _describe_grid(image, geometry)
    return image


def describe_examination(image: Dataset, examination: Examination) -> None:
    """Add patient, study, series and times; `image` gets a SeriesInstanceUID that depends on the seed only."""
    image.PatientName = examination.patient_name
    image.PatientID = examination.patient_id
    image.PatientBirthDate = None
    image.PatientSex = "O"
    image.StudyInstanceUID = derived_uid("simulated study", examination.seed)
    image.SeriesInstanceUID = derived_uid("simulated series", examination.seed, str(examination.series_number))
    image.StudyID = "1"
    image.AccessionNumber = examination.accession_number
    image.ReferringPhysicianName = None
    image.StudyDescription = "Digital head"
    image.SeriesDescription = examination.protocol_name
    image.ProtocolName = examination.protocol_name
    image.BodyPartExamined = "BRAIN"
    image.Modality = "MR"
    image.SeriesNumber = examination.series_number
    image.AcquisitionNumber = 1
    started = examination.started_at
    date, time = f"{started:%Y%m%d}", f"{started:%H%M%S}"
    image.StudyDate = image.SeriesDate = image.AcquisitionDate = image.ContentDate = date
    image.StudyTime = image.SeriesTime = image.AcquisitionTime = image.ContentTime = time
    offset = started.utcoffset() or timedelta()
    minutes = round(offset.total_seconds() / 60)
    image.TimezoneOffsetFromUTC = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"


def _describe_grid(image: Dataset, geometry: Geometry) -> None:
    image.ImageOrientationPatient = [
        format_number_as_ds(float(number)) for number in (*geometry.row_direction, *geometry.column_direction)
    ]
    image.PixelSpacing = [format_number_as_ds(float(number)) for number in geometry.pixel_spacing]
    image.SliceThickness = image.SpacingBetweenSlices = format_number_as_ds(round(geometry.voxel_size_mm[0], 4))
    image.Rows, image.Columns = geometry.shape[1:]
    image.SamplesPerPixel = 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.BitsAllocated = 16
    image.BitsStored = 12
    image.HighBit = 11
    image.PixelRepresentation = 0
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"


def _image(
    shared: Dataset,
    part: str,
    stored: np.ndarray,
    place: tuple[int, int],
    echo_time_s: float,
    geometry: Geometry,
    number: int,
) -> Dataset:
    echo, index = place
    image = Dataset()
    image.update(shared)
    image.ImageType = ["ORIGINAL", "PRIMARY", part, "ND"]
    image.SOPInstanceUID = derived_uid(shared.SeriesInstanceUID, part, str(echo), str(index))
    image.InstanceNumber = number
    image.EchoNumbers = echo + 1
    image.EchoTime = format_number_as_ds(round(1000 * echo_time_s, 6))
    position = geometry.position(index)
    image.ImagePositionPatient = [format_number_as_ds(coordinate) for coordinate in position]
    image.SliceLocation = format_number_as_ds(round(float(np.dot(geometry.normal, position)), 6))
    if part == "P":
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = "-4096", "2", "US"
        image.WindowCenter, image.WindowWidth = "0", "8192"
    else:
        image.WindowCenter, image.WindowWidth = str(_LARGEST_MAGNITUDE // 2), str(_LARGEST_MAGNITUDE)
    image.PixelData = stored.tobytes()
    image["PixelData"].VR = "OW"
    return image
