"""Images as MRD messages, one per slice, with the place in the patient that the scan itself stated."""

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence

import numpy as np

from dicom_io.geometry import Geometry
from dicom_io.kspace.mrd_messages import IMAGE_HEAD_BYTES, Kind

IMAGE_HEAD = np.dtype(
    [
        ("version", "<u2"),
        ("data_type", "<u2"),
        ("flags", "<u8"),
        ("measurement_uid", "<u4"),
        ("matrix_size", "<u2", (3,)),
        ("field_of_view", "<f4", (3,)),
        ("channels", "<u2"),
        ("position", "<f4", (3,)),
        ("read_dir", "<f4", (3,)),
        ("phase_dir", "<f4", (3,)),
        ("slice_dir", "<f4", (3,)),
        ("patient_table_position", "<f4", (3,)),
        ("average", "<u2"),
        ("slice", "<u2"),
        ("contrast", "<u2"),
        ("phase", "<u2"),
        ("repetition", "<u2"),
        ("set", "<u2"),
        ("acquisition_time_stamp", "<u4"),
        ("physiology_time_stamp", "<u4", (3,)),
        ("image_type", "<u2"),
        ("image_index", "<u2"),
        ("image_series_index", "<u2"),
        ("user_int", "<i4", (8,)),
        ("user_float", "<f4", (8,)),
        ("attribute_string_len", "<u4"),
    ]
)
assert IMAGE_HEAD.itemsize == IMAGE_HEAD_BYTES
_TYPES = {"<i2": 2, "<f4": 5}
_REAL_IMAGES = 3


def image_messages(
    volume: np.ndarray, geometry: Geometry, described: Mapping[str, str | Sequence[str]], series_index: int = 1
) -> list[bytes]:
    """Return one message per slice.

    Parameters
    ----------
    volume
        `(z, y, x)`, int16 or float32.
    geometry
        Where its voxels lie.
    described
        MRD's meta attributes.
    series_index
        The number by which the client tells these images from others.
    """
    nz, ny, nx = volume.shape
    dz, dy, dx = geometry.voxel_size_mm
    attributes = _meta(described).encode()
    messages = []
    for index, plane in enumerate(volume):
        head = np.zeros((), IMAGE_HEAD)
        head["version"], head["channels"], head["image_type"] = 1, 1, _REAL_IMAGES
        head["data_type"] = _TYPES[plane.dtype.str]
        head["matrix_size"], head["field_of_view"] = (nx, ny, 1), (nx * dx, ny * dy, dz)
        # MRD's position is where index `size // 2` of each axis lies.
        head["position"] = (geometry.affine_lps @ (nx // 2, ny // 2, index, 1))[:3]
        head["read_dir"], head["phase_dir"] = geometry.row_direction, geometry.column_direction
        head["slice_dir"] = geometry.normal
        head["slice"], head["image_index"], head["image_series_index"] = index, index + 1, series_index
        head["attribute_string_len"] = len(attributes)
        content = struct.pack("<H", Kind.IMAGE) + head.tobytes() + struct.pack("<Q", len(attributes)) + attributes
        messages.append(content + np.ascontiguousarray(plane).tobytes())
    assert len(messages) == nz
    return messages


def _meta(described: Mapping[str, str | Sequence[str]]) -> str:
    root = ElementTree.Element("ismrmrdMeta")
    for name, values in described.items():
        element = ElementTree.SubElement(root, "meta")
        ElementTree.SubElement(element, "name").text = name
        for value in [values] if isinstance(values, str) else values:
            ElementTree.SubElement(element, "value").text = value
    return ElementTree.tostring(root, encoding="unicode")
