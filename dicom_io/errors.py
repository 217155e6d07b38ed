"""What can be wrong with DICOM input or with a DICOM peer, one class per thing an operator would do differently.

DicomError
├── Permanent                       stops the series; a person must look
│   ├── NotDicom                    the file is not DICOM, or ends before its header does
│   ├── UnsupportedObject           a valid object that is no MR image (report, raw data, ...)
│   ├── UnsupportedTransferSyntax   no decoder for its compression
│   ├── TruncatedPixelData          fewer bytes than Rows x Columns x frames need
│   ├── LossyPhase                  the phase was compressed with loss at some time
│   ├── UnknownVendor               no table of conventions for this Manufacturer
│   ├── MissingAttribute            an attribute that decides the reading is absent
│   ├── ContradictoryHeader         two attributes state different things
│   ├── NoPhaseInProtocol           no phase can come: diffusion, inversion recovery, BOLD magnitude, ...
│   ├── PhaseMissing                magnitude only
│   ├── MagnitudeMissing            phase only
│   ├── PhaseScaleUnknown           the factor from stored value to radians cannot be decided
│   ├── FieldMapNotPhase            a field map in hertz
│   ├── PhaseDifference             the difference of two echoes, not the phase of each
│   ├── FilteredPhase               SWI or homodyne filtered, or corrected for distortion
│   ├── NotFiniteValues             NaN or infinity in the pixels
│   ├── MixedSeries                 more than one acquisition where one was expected
│   ├── IncompleteSeries            echoes, parts or slices are missing
│   └── GeometryUnusable            slices that form no regular grid
│   ├── InvalidObject               an object of ours that does not pass its own validation
│   ├── CommitmentNotOffered        the peer does not offer storage commitment
│   ├── QueryNotOffered             the peer cannot be asked what it holds
│   ├── MalformedReport             a storage commitment report that says nothing; carries the status for the peer
│   ├── MalformedStep               a performed procedure step that cannot be read; carries the status for the scanner
│   ├── MalformedRawData            raw data (k-space) whose bytes or header cannot be read
│   ├── IncompleteRawData           the sender of raw data went away before it said that it had finished
│   ├── UnknownRawData              raw data of a format for which no decoder is registered
│   ├── UnknownTrajectory           raw data sampled along a trajectory that is neither Cartesian nor EPI
│   ├── RawHeaderUnusable           field of view, matrix, field strength or echo times of raw data are absent or zero
│   ├── RawLinesMissing             readouts that the header announces are missing, or more came than it announces
│   ├── NoiseMissing                raw data of several coils without a noise measurement
│   └── CalibrationMissing          accelerated raw data without the lines that calibrate the coils
└── Transient                       try again later
    ├── PeerUnreachable             no association
    │   ├── NoContextAccepted       an association, but for nothing that was proposed
    │   └── ConnectionCut           a web service broke off or fell silent before it had answered
    └── PeerRefused                 an empty or failed status
"""


class DicomError(Exception):
    """Any failure of this package; its text is a sentence for the operator that says what to do next."""


class Permanent(DicomError):
    """Trying again gives the same result."""


class Transient(DicomError):
    """Trying again may succeed."""


class NotDicom(Permanent):
    """The file is not DICOM or its header cannot be read; ask the sender to send it again."""


class UnsupportedObject(Permanent):
    """The object is valid DICOM but no MR image; nothing is to be done."""


class UnsupportedTransferSyntax(Permanent):
    """No decoder for this compression; ask the sender for Explicit VR Little Endian."""


class TruncatedPixelData(Permanent):
    """The pixel data end early; ask the sender to send the instance again."""


class LossyPhase(Permanent):
    """Lossy compression has destroyed the phase; send the uncompressed images."""


class UnknownVendor(Permanent):
    """Lodestone has no table of conventions for this manufacturer, so the phase cannot be trusted."""


class MissingAttribute(Permanent):
    """An attribute without which the image cannot be read rightly is absent."""


class ContradictoryHeader(Permanent):
    """Two attributes of one image state different things about it."""


class NoPhaseInProtocol(Permanent):
    """The protocol is no gradient echo with phase; route it elsewhere."""


class PhaseMissing(Permanent):
    """Only magnitude arrived; switch on phase reconstruction in the protocol."""


class MagnitudeMissing(Permanent):
    """Only phase arrived; send the magnitude images as well."""


class PhaseScaleUnknown(Permanent):
    """Nothing in the header proves how stored values become radians."""


class FieldMapNotPhase(Permanent):
    """The images are a field map in hertz, not a wrapped phase."""


class PhaseDifference(Permanent):
    """The images are the phase difference of two echoes; send the phase of every echo."""


class FilteredPhase(Permanent):
    """The phase was filtered or resampled by the scanner and is no longer quantitative."""


class NotFiniteValues(Permanent):
    """The pixels contain NaN or infinity."""


class MixedSeries(Permanent):
    """Images of more than one acquisition were found where one was expected."""


class IncompleteSeries(Permanent):
    """Echoes, parts or slices are missing; the sentence names them."""


class GeometryUnusable(Permanent):
    """The slices do not form one regular grid; the sentence says how."""


class InvalidObject(Permanent):
    """An object that Lodestone made does not pass its own validation and is not sent."""


class CommitmentNotOffered(Permanent):
    """The peer does not offer storage commitment; ask it by query what it holds."""


class QueryNotOffered(Permanent):
    """The peer does not answer queries, so that nobody can tell from here what it holds."""


class MalformedReport(Permanent):
    """A storage commitment report that cannot be read; `status` is what the reporting peer hears."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class MalformedStep(Permanent):
    """A performed procedure step that cannot be read; `status` is what the scanner hears."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class MalformedRawData(Permanent):
    """The bytes or the header of raw data cannot be read; send them again from the scanner."""


class IncompleteRawData(Permanent):
    """The sender went away before the raw data were complete; what came is kept."""


class UnknownRawData(UnsupportedObject):
    """No decoder is registered for this raw data format; the object is kept as it is."""


class UnknownTrajectory(Permanent):
    """The raw data were sampled along a trajectory that Lodestone does not reconstruct."""


class RawHeaderUnusable(Permanent):
    """The header of raw data lacks a value without which no image can be made."""


class RawLinesMissing(Permanent):
    """Readouts and header of raw data disagree; the sentence names what is missing."""


class NoiseMissing(Permanent):
    """Raw data of several coils came without a noise measurement."""


class CalibrationMissing(Permanent):
    """Accelerated raw data came without the lines that calibrate the coils."""


class PeerUnreachable(Transient):
    """No association with the peer could be made."""


class NoContextAccepted(PeerUnreachable):
    """The peer takes an association, but none of the kinds of object or service that were proposed."""


class ConnectionCut(PeerUnreachable):
    """A web service broke off, or was silent for too long where `is_silence`, before its answer was complete."""

    def __init__(self, sentence: str, *, is_silence: bool = False) -> None:
        super().__init__(sentence)
        self.is_silence = is_silence


class PeerRefused(Transient):
    """The peer answered with an empty or a failed status."""
