"""What every manufacturer's Enhanced MR Image has in common: functional groups, dimensions and the multi-frame part."""

from collections.abc import Sequence

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import EnhancedMRImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_io.write.identity import derived_uid
from dicom_io.write.scanners.classic import decimals
from dicom_io.write.scanners.scan import Place, Scan


def item(**values: object) -> Dataset:
    """Return a sequence item of these attributes."""
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def describe_enhanced(
    image: Dataset, places: Sequence[Place], identity: tuple[str, ...], kind: Sequence[str], component: str
) -> None:
    """Add identity and what an Enhanced MR Image says of all its frames (PS3.3 C.8.13.1).

    `identity` begins with the SeriesInstanceUID and goes on with what tells the object apart within its series.
    """
    image.SOPClassUID = EnhancedMRImageStorage
    image.SeriesInstanceUID = identity[0]
    image.SOPInstanceUID = derived_uid(*identity, "enhanced")
    image.InstanceNumber = 1
    image.AcquisitionDateTime = f"{image.AcquisitionDate}{image.AcquisitionTime}"
    del image.AcquisitionDate, image.AcquisitionTime
    image.ImageType = list(kind)
    describe_frame_type(image, component)
    image.NumberOfFrames = len(places)
    image.ContentQualification = "PRODUCT"
    image.ResonantNucleus = "1H"
    image.EchoPulseSequence = "GRADIENT"
    image.MultiPlanarExcitation = "NO"
    image.PhaseContrast = "NO"
    image.TimeOfFlightContrast = "NO"
    image.SteadyStatePulseSequence = "NONE"
    image.EchoPlanarPulseSequence = "NO"
    image.SaturationRecovery = "NO"
    image.SpectrallySelectedSuppression = "NONE"
    image.GeometryOfKSpaceTraversal = "RECTILINEAR"
    image.RectilinearPhaseEncodeReordering = "LINEAR"
    image.NumberOfKSpaceTrajectories = 1
    image.ApplicableSafetyStandardAgency = "IEC"
    image.BurnedInAnnotation = "NO"
    image.LossyImageCompression = "00"
    image.PresentationLUTShape = "IDENTITY"
    image.AcquisitionContextSequence = []


def describe_frame_type(dataset: Dataset, component: str) -> None:
    """Add what object and frame both say of their pixels (PS3.3 C.8.13.3.1)."""
    dataset.PixelPresentation = "MONOCHROME"
    dataset.VolumetricProperties = "VOLUME"
    dataset.VolumeBasedCalculationTechnique = "NONE"
    dataset.ComplexImageComponent = component
    dataset.AcquisitionContrast = "UNKNOWN"


def shared_groups(scan: Scan) -> Dataset:
    """Return the functional groups that all frames share."""
    timing = item(
        RepetitionTime=format_number_as_ds(scan.examination.repetition_time_ms),
        FlipAngle=format_number_as_ds(scan.examination.flip_angle_deg),
        EchoTrainLength=scan.n_echoes,
        RFEchoTrainLength=0,
        GradientEchoTrainLength=scan.n_echoes,
    )
    modifier = item(InversionRecovery="NO", FlowCompensation="NONE", Spoiling="RF", T2Preparation="NO")
    return item(
        MRImagingModifierSequence=[item(MagnetizationTransfer="NONE", TransmitterFrequency=scan.frequency_mhz)],
        MRTimingAndRelatedParametersSequence=[timing],
        MRModifierSequence=[modifier],
        MRAveragesSequence=[item(NumberOfAverages="1")],
    )


def frame_groups(scan: Scan, place: Place, kind: Sequence[str], indices: Sequence[int]) -> Dataset:
    """Return the functional groups of one frame; `indices` are its DimensionIndexValues."""
    geometry = scan.geometry
    frame_type = item(FrameType=list(kind))
    describe_frame_type(frame_type, place.component)
    thickness = format_number_as_ds(round(geometry.voxel_size_mm[0], 4))
    moment = f"{scan.examination.started_at:%Y%m%d%H%M%S}"
    content = item(
        FrameAcquisitionDateTime=moment,
        FrameReferenceDateTime=moment,
        StackID="1",
        InStackPositionNumber=place.index + 1,
        TemporalPositionIndex=1,
        DimensionIndexValues=list(indices),
    )
    measures = item(
        PixelSpacing=decimals(*geometry.pixel_spacing), SliceThickness=thickness, SpacingBetweenSlices=thickness
    )
    directions = decimals(*geometry.row_direction, *geometry.column_direction)
    return item(
        MREchoSequence=[item(EffectiveEchoTime=scan.echo_time_ms(place.echo))],
        MRImageFrameTypeSequence=[frame_type],
        FrameContentSequence=[content],
        PlanePositionSequence=[item(ImagePositionPatient=decimals(*geometry.position(place.index)))],
        PlaneOrientationSequence=[item(ImageOrientationPatient=directions)],
        PixelMeasuresSequence=[measures],
    )


def describe_dimensions(image: Dataset, dimensions: Sequence[tuple[str, str]]) -> None:
    """Add the dimensions by keyword of the attribute and of the functional group that holds it (PS3.3 C.7.6.17)."""
    uid = derived_uid(image.SOPInstanceUID, "dimensions")
    image.DimensionOrganizationSequence = [item(DimensionOrganizationUID=uid)]
    image.DimensionIndexSequence = [
        item(
            DimensionOrganizationUID=uid,
            DimensionIndexPointer=tag_for_keyword(attribute),
            FunctionalGroupPointer=tag_for_keyword(group),
        )
        for attribute, group in dimensions
    ]
