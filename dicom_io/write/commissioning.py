"""A test series of known susceptibility for a site's viewer: four squares, letters, numbered slices, a pyramid.

Beneath the squares lies a block of −100 ppb. Letters are drawn into the pixels, because each of R, L, A, P, F and the
digits looks wrong when an image is mirrored or turned; a viewer's own letters come from the header and prove less.
The pyramid, each slice a smaller square than the last, points to the head where a viewer cuts the slices across.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from dicom_io.geometry import Geometry
from dicom_io.series import SourceFrame, SourceSeries
from dicom_io.write.identity import COMMISSIONING_SERIES_OFFSET, array_digest, derived_uid
from dicom_io.write.provenance import RunDescription
from dicom_io.write.scanner import SIMULATED_MANUFACTURER, Examination, scanner_series

PATIENT_NAME, PATIENT_ID = "QA^Lodestone", "LODESTONE-QA"
STUDY_DESCRIPTION = "Lodestone commissioning"
SHAPE = (12, 192, 192)
PIXEL_MM, SLICE_MM = 1.0, 4.0
BLOCK_PPB, LETTER_PPB = -100, 200
N_END_SLICES = 3
"""On so many slices at either end H, towards the head, or F, towards the feet, is drawn."""

_BLOCK = slice(16, 176)
_ECHO_TIME_S, _FIELD_T = 0.02, 3.0
_DOTS = 2  # Pixels to the edge of one dot of a letter.
# Five dots across and seven down, each letter's rows from the top.
_LETTERS = {
    "R": ("####.", "#...#", "#...#", "####.", "#.#..", "#..#.", "#...#"),
    "L": ("#....", "#....", "#....", "#....", "#....", "#....", "#####"),
    "A": (".###.", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "P": ("####.", "#...#", "#...#", "####.", "#....", "#....", "#...."),
    "H": ("#...#", "#...#", "#...#", "#####", "#...#", "#...#", "#...#"),
    "F": ("#####", "#....", "#....", "####.", "#....", "#....", "#...."),
    "0": (".###.", "#...#", "#..##", "#.#.#", "##..#", "#...#", ".###."),
    "1": ("..#..", ".##..", "..#..", "..#..", "..#..", "..#..", ".###."),
    "2": (".###.", "#...#", "....#", "...#.", "..#..", ".#...", "#####"),
    "3": ("####.", "....#", "....#", ".###.", "....#", "....#", "####."),
    "4": ("...#.", "..##.", ".#.#.", "#..#.", "#####", "...#.", "...#."),
    "5": ("#####", "#....", "####.", "....#", "....#", "#...#", ".###."),
    "6": (".###.", "#....", "#....", "####.", "#...#", "#...#", ".###."),
    "7": ("#####", "....#", "...#.", "..#..", "..#..", ".#...", ".#..."),
    "8": (".###.", "#...#", "#...#", ".###.", "#...#", "#...#", ".###."),
    "9": (".###.", "#...#", "#...#", ".####", "....#", "....#", ".###."),
}
# Row and column of a letter's first dot.
_SIDE_LETTERS = (("R", 89, 20), ("L", 89, 162), ("A", 20, 91), ("P", 158, 91))
_NUMBER_PLACE, _END_PLACE = (89, 84), (56, 91)
_PYRAMID_CENTRE, _PYRAMID_BASE = (130, 96), 30


@dataclass(frozen=True)
class Square:
    """A square of one value [ppb] in every slice; `rows` and `columns` are its first and last, counted from 0."""

    number: int
    value_ppb: int
    side: str
    end: str
    rows: tuple[int, int]
    columns: tuple[int, int]

    @property
    def name(self) -> str:
        """Return the name of its region, which says where it lies in the patient."""
        return f"{self.side} {self.end} square"

    @property
    def centre_mm(self) -> tuple[float, float]:
        """Return the patient's x (left) and y (back) of its centre [mm]."""
        return _millimetre(sum(self.columns) / 2, SHAPE[2]), _millimetre(sum(self.rows) / 2, SHAPE[1])


SQUARES = (
    Square(1, -200, "right", "anterior", (44, 79), (44, 79)),
    Square(2, 0, "left", "anterior", (44, 79), (112, 147)),
    Square(3, 100, "right", "posterior", (112, 147), (44, 79)),
    Square(4, 200, "left", "posterior", (112, 147), (112, 147)),
)


def known_map_ppb() -> np.ndarray:
    """Return the test map `(z, y, x)` [ppb]; slices are numbered from 1 at the feet."""
    values = np.where(block_mask(), float(BLOCK_PPB), 0.0)
    labels = square_labels()
    for square in SQUARES:
        values[labels == square.number] = square.value_ppb
    for index, image in enumerate(values):
        image[_pyramid(index)] = LETTER_PPB
        for letter, row, column in (*_SIDE_LETTERS, *_slice_letters(index)):
            _draw(image, letter, row, column)
    return values


def block_mask() -> np.ndarray:
    """Return where the block is, bool `(z, y, x)`."""
    mask = np.zeros(SHAPE, bool)
    mask[:, _BLOCK, _BLOCK] = True
    return mask


def square_labels() -> np.ndarray:
    """Return the squares' numbers, int `(z, y, x)`; 0 outside."""
    labels = np.zeros(SHAPE, np.int32)
    for square in SQUARES:
        (top, bottom), (left, right) = square.rows, square.columns
        labels[:, top : bottom + 1, left : right + 1] = square.number
    return labels


def commissioning_geometry(seed: str) -> Geometry:
    """Return axial slices about the origin of the patient's coordinates, the first nearest the feet."""
    return Geometry(
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, 1.0, 0.0),
        first_position=(_millimetre(0, SHAPE[2]), _millimetre(0, SHAPE[1]), -SLICE_MM * (SHAPE[0] - 1) / 2),
        slice_step=(0.0, 0.0, SLICE_MM),
        pixel_spacing=(PIXEL_MM, PIXEL_MM),
        shape=SHAPE,
        frame_of_reference_uid=derived_uid("commissioning frame of reference", seed),
    )


def commissioning_images(seed: str, day: date) -> list[Dataset]:
    """Return the magnitude images of an artificial patient, from which the test map claims to be made.

    `seed` decides every UID: equal seeds make equal objects. The examination began at midnight of `day`, UTC.
    """
    examination = Examination(
        seed=f"commissioning {seed}",
        patient_name=PATIENT_NAME,
        patient_id=PATIENT_ID,
        accession_number=f"QA{day:%Y%m%d}",
        protocol_name="QA magnitude",
        started_at=_midnight(day),
        series_number=COMMISSIONING_SERIES_OFFSET,
    )
    magnitude = np.where(block_mask(), 600.0 + known_map_ppb(), 0.0)[None]
    geometry = commissioning_geometry(seed)
    scanned = scanner_series(magnitude, np.zeros_like(magnitude), (_ECHO_TIME_S,), geometry, _FIELD_T, examination)
    images = [image for image in scanned if image.ImageType[2] == "M"]
    for image in images:
        image.ImagesInAcquisition = len(images)
        image.StudyDescription = STUDY_DESCRIPTION
    return images


def commissioning_source(images: list[Dataset], seed: str) -> SourceSeries:
    """Return the magnitude images as the source of the test map."""
    template = Dataset()
    template.update({element.tag: element for element in images[0] if element.keyword != "PixelData"})
    return SourceSeries(
        geometry=commissioning_geometry(seed),
        echo_times_s=(_ECHO_TIME_S,),
        magnetic_field_strength_t=_FIELD_T,
        vendor=SIMULATED_MANUFACTURER,
        template=template,
        frames=tuple((SourceFrame(MRImageStorage, str(image.SOPInstanceUID)),) for image in images),
        phase_scaling="none, no phase was measured",
        is_enhanced=False,
        notes=("Commissioning series: the values are made up.",),
    )


def commissioning_run(
    seed: str, day: date, software_version: str, code_revision: str, node_ae_title: str
) -> RunDescription:
    """Describe the making of the test map in the words of a run."""
    values = ", ".join(f"{square.value_ppb:+d}" if square.value_ppb else "0" for square in SQUARES)
    return RunDescription(
        software_version=software_version,
        code_revision=code_revision,
        recipe_name="commissioning",
        recipe_digest=array_digest(known_map_ppb()),
        method_sentence=f"Nothing was measured: squares of {values} ppb were drawn to test a viewer.",
        reference="none, the values are made up",
        input_digest=hashlib.sha256(f"commissioning {seed}".encode()).hexdigest(),
        device_uid=derived_uid("commissioning device", software_version, code_revision, node_ae_title),
        node_ae_title=node_ae_title,
        performed_at=_midnight(day),
    )


def _slice_letters(index: int) -> list[tuple[str, int, int]]:
    row, column = _NUMBER_PLACE
    letters = [(digit, row, column + 14 * place) for place, digit in enumerate(f"{index + 1:02d}")]
    if index >= SHAPE[0] - N_END_SLICES:
        letters.append(("H", *_END_PLACE))
    elif index < N_END_SLICES:
        letters.append(("F", *_END_PLACE))
    return letters


def _pyramid(index: int) -> tuple[slice, slice]:
    """Return rows and columns of the pyramid in a slice: two pixels wide at the head, its base at the feet."""
    half = 1 + round((_PYRAMID_BASE // 2 - 1) * (SHAPE[0] - 1 - index) / (SHAPE[0] - 1))
    row, column = _PYRAMID_CENTRE
    return slice(row - half, row + half), slice(column - half, column + half)


def _draw(image: np.ndarray, letter: str, row: int, column: int) -> None:
    dots = np.array([[dot == "#" for dot in line] for line in _LETTERS[letter]])
    pixels = np.kron(dots, np.ones((_DOTS, _DOTS), bool))
    part = image[row : row + pixels.shape[0], column : column + pixels.shape[1]]
    part[pixels] = LETTER_PPB


def _millimetre(index: float, count: int) -> float:
    return PIXEL_MM * (index - (count - 1) / 2)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
