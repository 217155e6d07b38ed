"""The clinical node: wires DICOM, mathematics and the record into one journey."""

__version__ = "0.1.0"
