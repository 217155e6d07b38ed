"""What to change at the scanner: advice on a series that cannot be mapped, or that could be mapped better. Pure."""

from collections.abc import Sequence

import numpy as np

from dicom_io.geometry import Geometry
from dicom_io.read.vendors.siemens import FIELD_MAP_SEQUENCE

PHASE_AT_THE_CONSOLE = {
    "Siemens": 'set "Magn./Phase" as the reconstruction (Contrast card, Dynamic), and send both series',
    "GE": "let the scanner reconstruct real and imaginary (or phase) images beside the magnitude, and send all of them",
    "Philips": "choose M and P, or R and I, as images on the Postproc tab, and send all of them",
    "United Imaging": "switch the phase image on in the reconstruction settings, and send both series",
    "Canon": "switch the phase image on in the reconstruction settings, and send both series",
}
FOR_A_REFUSAL = {
    "FilteredPhase": "switch distortion correction and SWI filtering off for the phase, or send the series without "
    'them ("ND" on Siemens)',
    "LossyPhase": "send the images to Lodestone before the archive compresses them, or switch lossy compression off",
    "PhaseDifference": "a field-map sequence stores no phase per echo: run a multi-echo gradient echo with phase",
    "FieldMapNotPhase": "a field map is no wrapped phase: run a multi-echo gradient echo with phase",
    "IncompleteSeries": "send the whole series again; the scanner's transfer queue may have stopped early",
    "MagnitudeMissing": "send the magnitude series of the same scan as well",
    "MixedSeries": "send one acquisition at a time; repeated scans need a series of their own",
    "GeometryUnusable": "acquire one slab of evenly spaced, parallel slices without gantry tilt",
    "UnknownVendor": "send the scanner's original images: an anonymiser may have removed Manufacturer",
    "MissingAttribute": "send the scanner's original images: an anonymiser may have removed what is needed",
    "ContradictoryHeader": "send the scanner's original images: something on the way changed the headers",
    "PhaseScaleUnknown": "export the phase with its rescale values, or real and imaginary images",
    "UnsupportedTransferSyntax": "send the images uncompressed",
    "TruncatedPixelData": "send the images again: some arrived only in part",
}
FEW_SLICES = 30
LARGE_VOXEL_MM = 1.6
LARGE_ANISOTROPY = 2.5
INTERPOLATED = 1.2
# A quarter to a third of the T2* of cortical grey matter: 84, 66 and 33 ms (Peters, Magn Reson Imaging 25:748).
SHORT_LAST_ECHO_MS = {1.5: 25.0, 3.0: 15.0, 7.0: 10.0}


def for_a_refusal(refusal_class: str, vendor: str, sequence: str = "") -> list[str]:
    """Return what to do about a series that cannot be mapped."""
    if refusal_class == "PhaseMissing" and vendor == "Siemens" and FIELD_MAP_SEQUENCE.fullmatch(sequence):
        return [FOR_A_REFUSAL["PhaseDifference"]]
    if refusal_class == "PhaseMissing":
        return [PHASE_AT_THE_CONSOLE.get(vendor, "switch on phase images in the protocol, and send them as well")]
    return [FOR_A_REFUSAL[refusal_class]] if refusal_class in FOR_A_REFUSAL else []


def for_a_map(
    geometry: Geometry, echo_times_ms: Sequence[float], field_t: float, acquired_matrix: Sequence[int]
) -> list[str]:
    """Return what would make a series that can be mapped a better one; empty for a good protocol.

    Parameters
    ----------
    geometry
        Its grid.
    echo_times_ms
        Its echo times [ms].
    field_t
        Field strength [T].
    acquired_matrix
        The numbers of acquired samples along frequency and phase, empty where the header has none.
    """
    advice = []
    if len(echo_times_ms) == 1:
        advice.append("one echo: with 4 to 8 echoes offsets of the phase cancel and R2* can be mapped as well")
    shortest = SHORT_LAST_ECHO_MS[min(SHORT_LAST_ECHO_MS, key=lambda known: abs(known - field_t))]
    if max(echo_times_ms) < shortest:
        advice.append(
            f"the last echo, {max(echo_times_ms):g} ms, is early for {field_t:.3g} T: one at {2 * shortest:g} ms would "
            "show weak susceptibility with less noise"
        )
    advice += _of_the_grid(geometry)
    longest = max(acquired_matrix, default=0)
    if longest and max(geometry.shape[1:]) / longest > INTERPOLATED:
        advice.append(
            f"the images are interpolated in plane, from {longest} to {max(geometry.shape[1:])}: switch interpolation "
            "(zero filling) off, which saves time and loses nothing"
        )
    return advice


def _of_the_grid(geometry: Geometry) -> list[str]:
    size = geometry.voxel_size_mm
    advice = []
    if geometry.shape[0] < FEW_SLICES:
        advice.append(
            f"{geometry.shape[0]} slices: below {FEW_SLICES} the field near the ends of the slab is poorly known"
        )
    if max(size) / min(size) > LARGE_ANISOTROPY:
        advice.append(f"voxels {max(size) / min(size):.1f} times as long as wide: nearly cubic ones measure better")
    if float(np.prod(size)) ** (1 / 3) > LARGE_VOXEL_MM:
        advice.append("large voxels: at 1 mm small veins and nuclei keep their susceptibility")
    return advice
