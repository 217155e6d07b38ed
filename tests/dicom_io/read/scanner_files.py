"""Small multi-echo acquisitions as five manufacturers write them, with a known complex image behind each."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

OBLIQUE = (1.0, 0.0, 0.0, 0.0, math.cos(math.radians(20)), math.sin(math.radians(20)))
STUDY = "1.2.826.0.1.3680043.8.498.1"


@dataclass(frozen=True)
class Scan:
    """What was scanned: shape `(z, y, x)`, echo times [ms], voxel size `(z, y, x)` [mm]."""

    shape: tuple[int, int, int] = (4, 6, 5)
    echo_times_ms: tuple[float, ...] = (4.0, 8.5, 13.0)
    voxel_size_mm: tuple[float, float, float] = (2.0, 1.0, 0.8)
    orientation: tuple[float, ...] = OBLIQUE
    first_position: tuple[float, float, float] = (-12.5, 7.25, -30.0)
    field_strength_t: float = 3.0
    frequency_mhz: float = 127.73
    study_uid: str = STUDY
    series: dict[str, str] = field(default_factory=dict)

    @property
    def image(self) -> np.ndarray:
        """Return the complex image `(echo, z, y, x)`; its phase grows with the field, fills ±π and is smooth in z."""
        z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in self.shape), indexing="ij")
        hertz = 40 * np.sin(0.9 * x) + 30 * y + 2 * z - 60
        times = np.array(self.echo_times_ms)[:, None, None, None] * 1e-3
        return (1000 + 100 * x + 10 * y) * np.exp(-times / 0.03) * np.exp(1j * (2 * math.pi * hertz * times + 0.3))

    def position(self, index: int) -> list[float]:
        """Return the position of a slice [mm]."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return [round(float(v), 6) for v in np.array(self.first_position) + index * self.voxel_size_mm[0] * normal]


Encode = Callable[[Dataset, np.ndarray, str], None]


def classic(scan: Scan, manufacturer: str, parts: Sequence[str], encode: Encode) -> list[Dataset]:
    """Return one object per part, echo and slice, in the order part, echo, slice."""
    return [
        _classic_image(scan, manufacturer, part, echo, index, encode)
        for part in parts
        for echo in range(len(scan.echo_times_ms))
        for index in range(scan.shape[0])
    ]


def _classic_image(scan: Scan, manufacturer: str, part: str, echo: int, index: int, encode: Encode) -> Dataset:
    dataset = _object(scan, manufacturer, MRImageStorage, f"{'MPRI'.index(part) + 1}.{echo + 1}.{index + 1}")
    dataset.SeriesInstanceUID = scan.series.get(part, f"{scan.study_uid}.5")
    dataset.ScanningSequence = "GR"
    dataset.EchoTime = scan.echo_times_ms[echo]
    dataset.EchoNumbers = echo + 1
    dataset.InstanceNumber = index + 1
    dataset.ImagingFrequency = scan.frequency_mhz
    dataset.ImageOrientationPatient = list(scan.orientation)
    dataset.ImagePositionPatient = scan.position(index)
    dataset.PixelSpacing = list(scan.voxel_size_mm[1:])
    dataset.SliceThickness = scan.voxel_size_mm[0]
    encode(dataset, scan.image[echo, index], part)
    return dataset


def _object(scan: Scan, manufacturer: str, sop_class: str, suffix: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"{scan.study_uid}.9.{suffix}"
    dataset.StudyInstanceUID = scan.study_uid
    dataset.SeriesInstanceUID = f"{scan.study_uid}.5"
    dataset.FrameOfReferenceUID = f"{scan.study_uid}.7"
    dataset.Modality = "MR"
    dataset.Manufacturer = manufacturer
    dataset.PatientName = "Secret^Name"
    dataset.PatientID = "SECRET-ID"
    dataset.MagneticFieldStrength = scan.field_strength_t
    dataset.Rows, dataset.Columns = scan.shape[1:]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    return dataset


def put_pixels(dataset: Dataset, stored: np.ndarray, bits_stored: int, is_signed: bool) -> None:
    """Store integers as 16-bit pixel data."""
    dataset.BitsAllocated = 16
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = int(is_signed)
    dataset.PixelData = np.round(stored).astype("<i2" if is_signed else "<u2").tobytes()


def as_siemens(dataset: Dataset, image: np.ndarray, part: str) -> None:
    """Encode as Siemens: phase 0…4095 with slope 2 and intercept −4096."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", part, "ND"]
    dataset.SequenceName = "*fl3d3r"
    if part == "M":
        put_pixels(dataset, np.abs(image), 12, is_signed=False)
        return
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "2", "-4096", "US"
    put_pixels(dataset, np.clip((np.angle(image) / math.pi * 4096 + 4096) / 2, 0, 4095), 12, is_signed=False)


def as_siemens_without_rescaling(dataset: Dataset, image: np.ndarray, part: str) -> None:
    """Encode as old Siemens software: 12 bits span ±π and the header says nothing."""
    as_siemens(dataset, image, part)
    for keyword in ("RescaleSlope", "RescaleIntercept", "RescaleType"):
        if keyword in dataset:
            delattr(dataset, keyword)


def as_ge(dataset: Dataset, image: np.ndarray, part: str) -> None:
    """Encode as GE: conjugate of the others, the part in a private element, phase in milliradians."""
    turned = image.conj()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x2F, "SS", "MPRI".index(part))
    values = {"M": np.abs(turned), "P": np.angle(turned) * 1000, "R": turned.real, "I": turned.imag}
    put_pixels(dataset, values[part], 16, is_signed=True)


def as_philips(dataset: Dataset, image: np.ndarray, part: str) -> None:
    """Encode as Philips: both parts rescaled, phase in milliradians."""
    kind = {"M": "M_FFE", "P": "PHASE MAP", "R": "R_FFE", "I": "I_FFE"}[part]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", kind, part, "FFE"]
    slope, intercept, values = 1.5345, -3142.0, np.angle(image) * 1000
    if part != "P":
        slope, intercept = 1.25, 0.0 if part == "M" else -2500.0
        values = {"M": np.abs(image), "R": image.real, "I": image.imag}[part]
    dataset.RescaleSlope, dataset.RescaleIntercept = str(slope), str(intercept)
    dataset.RescaleType = "mrad" if part == "P" else "normalized"
    put_pixels(dataset, (values - intercept) / slope, 12, is_signed=False)


def as_stated(dataset: Dataset, image: np.ndarray, part: str) -> None:
    """Encode in the standard's own words: ComplexImageComponent, and phase whose rescaling leads to radians."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", part, "NONE"]
    dataset.ComplexImageComponent = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}[part]
    if part == "M":
        put_pixels(dataset, np.abs(image), 16, is_signed=False)
        return
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "0.0001", "0", "rad"
    put_pixels(dataset, np.angle(image) * 1e4, 16, is_signed=True)


def enhanced_siemens(scan: Scan, component: str, echo: int, suffix: str) -> Dataset:
    """Return one Enhanced MR object as Siemens XA writes it: one echo of one part, one frame per slice."""
    part = {"MAGNITUDE": "M", "PHASE": "P"}[component]
    dataset = _object(scan, "Siemens Healthineers", EnhancedMRImageStorage, suffix)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", part, "NONE"]
    dataset.ComplexImageComponent = component
    dataset.EchoPulseSequence = "GRADIENT"
    dataset.PulseSequenceName = "*fl3d3r"
    dataset.NumberOfFrames = scan.shape[0]
    shared = Dataset()
    shared.MRImagingModifierSequence = [_item(TransmitterFrequency=scan.frequency_mhz)]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(scan, component, echo, index) for index in range(scan.shape[0])
    ]
    image = scan.image[echo]
    phase = np.clip((np.angle(image) / math.pi * 4096 + 4096) / 2, 0, 4095)
    put_pixels(dataset, np.abs(image) if component == "MAGNITUDE" else phase, 12, is_signed=False)
    return dataset


def _frame_groups(scan: Scan, component: str, echo: int, index: int) -> Dataset:
    groups = Dataset()
    groups.MREchoSequence = [_item(EffectiveEchoTime=scan.echo_times_ms[echo])]
    groups.PlanePositionSequence = [_item(ImagePositionPatient=scan.position(index))]
    groups.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(scan.orientation))]
    groups.PixelMeasuresSequence = [_item(PixelSpacing=list(scan.voxel_size_mm[1:]))]
    kind = ["ORIGINAL", "PRIMARY", component[0], "NONE"]
    groups.MRImageFrameTypeSequence = [_item(FrameType=kind, ComplexImageComponent=component)]
    slope, intercept = ("1", "0") if component == "MAGNITUDE" else ("2", "-4096")
    groups.PixelValueTransformationSequence = [_item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")]
    return groups


def _item(**values: object) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def save(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Write each object to a file of its own, named by its place in the sequence."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04d}.dcm" for number in range(len(datasets))]
    for dataset, path in zip(datasets, paths, strict=True):
        dataset.save_as(path, enforce_file_format=True)
    return paths
