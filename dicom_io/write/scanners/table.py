"""The flavours in which a simulated scan can be written. Adding one is one function and one line here."""

from collections.abc import Callable, Mapping

from pydicom import Dataset

from dicom_io.write.scanners.canon import canon_classic, canon_real_and_imaginary
from dicom_io.write.scanners.ge import ge_alternating_slices, ge_classic, ge_magnitude_and_phase
from dicom_io.write.scanners.philips import (
    philips_classic,
    philips_classic_complex,
    philips_enhanced,
    philips_enhanced_complex,
    philips_real_and_imaginary,
)
from dicom_io.write.scanners.scan import Scan
from dicom_io.write.scanners.siemens import siemens_classic, siemens_enhanced, siemens_xa_classic
from dicom_io.write.scanners.united_imaging import united_imaging_classic

FLAVOURS: Mapping[str, Callable[[Scan], list[Dataset]]] = {
    "siemens_classic": siemens_classic,
    "siemens_xa_classic": siemens_xa_classic,
    "siemens_enhanced": siemens_enhanced,
    "ge_classic": ge_classic,
    "ge_magnitude_and_phase": ge_magnitude_and_phase,
    "ge_alternating_slices": ge_alternating_slices,
    "philips_classic": philips_classic,
    "philips_classic_complex": philips_classic_complex,
    "philips_real_and_imaginary": philips_real_and_imaginary,
    "philips_enhanced": philips_enhanced,
    "philips_enhanced_complex": philips_enhanced_complex,
    "united_imaging_classic": united_imaging_classic,
    "canon_classic": canon_classic,
    "canon_real_and_imaginary": canon_real_and_imaginary,
}
