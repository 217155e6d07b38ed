"""Turn a data set of ours into the bytes of a Part 10 file; equal data sets give equal bytes."""

from io import BytesIO

import pydicom
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.write.identity import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("Lodestone", "implementation class")
IMPLEMENTATION_VERSION_NAME = "LODESTONE_0_1"


def to_bytes(dataset: Dataset) -> bytes:
    """Encode a data set as Explicit VR Little Endian with its file meta information (PS3.10 7.1).

    The file meta group is always written anew, so that an object made by another library's class does not carry that
    library's version into the bytes.
    """
    plain = Dataset()
    plain.update({element.tag: element for element in dataset if element.tag.group != 2})
    plain.file_meta = FileMetaDataset()
    plain.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    plain.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    plain.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    plain.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    plain.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, plain, enforce_file_format=True)
    return buffer.getvalue()
