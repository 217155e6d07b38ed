import io

import ismrmrd
import numpy as np

from dicom_io.geometry import Geometry
from dicom_io.kspace.mrd_images import image_messages
from dicom_io.kspace.mrd_messages import close_message


def test_the_ismrmrd_package_reads_our_images():
    volume = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    place = Geometry((1, 0, 0), (0, 1, 0), (-2.0, -3.0, 5.0), (0, 0, 4.0), (2.0, 1.0), volume.shape, "1.2.3")
    content = b"".join(image_messages(volume, place, {"Unit": "ppb", "ImageComments": ["a", "b"]})) + close_message()
    images = list(ismrmrd.ProtocolDeserializer(io.BytesIO(content)).deserialize())
    assert [image.slice for image in images] == [0, 1]
    assert np.array_equal(images[1].data[0, 0], volume[1])
    assert images[0].meta["Unit"] == "ppb"
    assert images[0].meta["ImageComments"] == ["a", "b"]
    assert tuple(images[1].position) == (0.0, -1.0, 9.0)
    assert tuple(images[1].field_of_view) == (4.0, 6.0, 4.0)
    assert tuple(images[0].slice_dir) == (0.0, 0.0, 1.0)
