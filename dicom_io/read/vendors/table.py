"""The manufacturers whose images can be read. Adding one is one file and one line here."""

import re

from dicom_io.read.vendors.canon import CANON
from dicom_io.read.vendors.convention import Vendor
from dicom_io.read.vendors.ge import GE
from dicom_io.read.vendors.philips import PHILIPS
from dicom_io.read.vendors.siemens import SIEMENS
from dicom_io.read.vendors.simulated import SIMULATED
from dicom_io.read.vendors.united_imaging import UNITED_IMAGING

VENDORS = (SIEMENS, PHILIPS, GE, UNITED_IMAGING, CANON, SIMULATED)


def vendor_of(manufacturer: str) -> Vendor | None:
    """Return the conventions for a Manufacturer (0008,0070), or None where there are none."""
    # Whole words: "CANON_MEC" and "Siemens Healthineers" are known, a name that merely begins alike is not.
    spelled = f"{' '.join(re.findall('[A-Z0-9]+', manufacturer.upper()))} "
    for vendor in VENDORS:
        if any(spelled.startswith(f"{name} ") for name in vendor.manufacturers):
            return vendor
    return None


def vendor_named(name: str) -> Vendor | None:
    """Return the conventions by the name under which this table lists them, or None."""
    return next((vendor for vendor in VENDORS if vendor.name == name), None)
