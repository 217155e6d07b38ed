"""What the node accepts and offers in presentation contexts: SOP classes and transfer syntaxes as tables."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from pydicom import uid
from pynetdicom import sop_class
from pynetdicom.presentation import PresentationContext, build_context

from dicom_io.network.part10 import is_uid

Item = TypeVar("Item")

IMAGE_CLASSES: tuple[str, ...] = (
    sop_class.MRImageStorage,
    sop_class.EnhancedMRImageStorage,
    sop_class.LegacyConvertedEnhancedMRImageStorage,
)

# Scanners send these along with the images; a node that rejected them would make the whole transfer look failed.
COMPANION_CLASSES: tuple[str, ...] = (
    sop_class.RawDataStorage,
    sop_class.SecondaryCaptureImageStorage,
    sop_class.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    sop_class.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    sop_class.MultiFrameTrueColorSecondaryCaptureImageStorage,
    sop_class.EnhancedMRColorImageStorage,
    sop_class.MRSpectroscopyStorage,
    sop_class.BasicTextSRStorage,
    sop_class.EnhancedSRStorage,
    sop_class.ComprehensiveSRStorage,
    sop_class.Comprehensive3DSRStorage,
    sop_class.KeyObjectSelectionDocumentStorage,
    sop_class.GrayscaleSoftcopyPresentationStateStorage,
    sop_class.EncapsulatedPDFStorage,
)

# What the node itself makes, for archives that only take in what it sends.
RESULT_CLASSES: tuple[str, ...] = (
    sop_class.MRImageStorage,
    sop_class.EnhancedMRImageStorage,
    sop_class.ParametricMapStorage,
    sop_class.SegmentationStorage,
    sop_class.Comprehensive3DSRStorage,
    sop_class.EncapsulatedPDFStorage,
    sop_class.SecondaryCaptureImageStorage,
    sop_class.GrayscaleSoftcopyPresentationStateStorage,
    sop_class.KeyObjectSelectionDocumentStorage,
)

UNCOMPRESSED: tuple[str, ...] = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
)
LOSSLESS: tuple[str, ...] = (
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.RLELossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
)
LOSSY: tuple[str, ...] = (
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
)

# The acceptor's order decides. Lossy comes last and is taken at all so that a lossy phase image becomes a refusal
# that a person can see in the list of series, instead of a line in the sender's log.
ACCEPTED_TRANSFER_SYNTAXES: tuple[str, ...] = UNCOMPRESSED + LOSSLESS + LOSSY

MOST_CONTEXTS = 128


def storage_contexts(classes: Iterable[str] = IMAGE_CLASSES + COMPANION_CLASSES) -> list[PresentationContext]:
    """Build the contexts that a Storage SCP accepts, verification included (PS3.8 section 9.3.2.2)."""
    accepted = [
        build_context(sop_class_uid, list(ACCEPTED_TRANSFER_SYNTAXES)) for sop_class_uid in dict.fromkeys(classes)
    ]
    return [*accepted, *verification_contexts()]


def verification_contexts() -> list[PresentationContext]:
    """Build the context of C-ECHO."""
    return [build_context(sop_class.Verification, [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian])]


def contexts_to_offer(objects: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    """Build the contexts to offer for objects given as pairs of SOP class and transfer syntax.

    Each pair has a context of its own, so that the bytes can go out as they are. An uncompressed object also offers
    the two uncompressed syntaxes that every archive takes, for peers that refuse the first.

    Raises
    ------
    ValueError
        More contexts would be needed than one association can carry.
    """
    pairs = dict.fromkeys(objects)
    offered = [build_context(sop_class_uid, [syntax]) for sop_class_uid, syntax in pairs]
    for sop_class_uid, syntax in pairs:
        for fallback in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
            if syntax in UNCOMPRESSED and (sop_class_uid, fallback) not in pairs:
                offered.append(build_context(sop_class_uid, [fallback]))
    unique = {(context.abstract_syntax, tuple(context.transfer_syntax)): context for context in offered}
    if len(unique) > MOST_CONTEXTS:
        raise ValueError(f"{len(unique)} presentation contexts do not fit into one association; send in smaller lots.")
    return list(unique.values())


def lots_of_objects(objects: Iterable[Item], kind: Callable[[Item], tuple[str, str]]) -> list[list[Item]]:
    """Divide objects, in their order, into lots whose contexts fit into one association each.

    `kind` returns the SOP class and the transfer syntax of an object.
    """
    lots: list[list[Item]] = []
    kinds: set[tuple[str, str]] = set()
    for item in objects:
        # A kind needs its own context and at most two more to fall back on.
        if not lots or 3 * len(kinds | {kind(item)}) > MOST_CONTEXTS:
            lots.append([])
            kinds = set()
        kinds.add(kind(item))
        lots[-1].append(item)
    return lots


def sop_class_name(received: str) -> str:
    """Name a SOP class for a person; what the dictionary does not know is shown only if it is a well-formed UID."""
    return uid.UID(received).name if is_uid(received) else "a malformed SOP class UID"
