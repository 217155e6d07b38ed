"""What the rules say of some files, in words: which rule takes each series, and why the others do not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.tag import Tag

from dicom_io.errors import DicomError, NotDicom
from dicom_io.instance import open_instance
from dicom_io.read.attributes import attribute_values
from dicom_io.read.headers import FrameHeader, read_frame_headers
from node.errors import Permanent
from node.purpose import why_ignored
from node.routing import Answer, Choice, Judgement, choose, judge
from node.series_attributes import Held, values_in
from node.settings import Settings

PATIENT_GROUP = 0x0010
# What names a patient or a visit outside the patient's own group of attributes.
IDENTIFYING = {"AccessionNumber", "StudyID", "AdmissionID"}
MOST_VALUES = 8


@dataclass(frozen=True)
class Route:
    """One series: its files, what every rule says of it, and the maps that are chosen, or why there is none."""

    series: str
    series_uid: str
    n_files: int
    judgements: tuple[Judgement, ...]
    choices: tuple[Choice, ...]
    reason: str = ""
    reason_class: str = ""


def routes(paths: Sequence[Path], settings: Settings) -> list[Route]:
    """Return what the rules say of every series in some files and folders.

    Raises
    ------
    NotDicom
        A file that was named is no DICOM object, or nothing that was named is one.
    """
    series: dict[str, list[Held]] = {}
    names: dict[str, str] = {}
    for path, is_named in _files(paths):
        try:
            header = open_instance(path)
        except NotDicom as refusal:
            if is_named:
                raise NotDicom(f"{path.name}: {refusal}") from refusal
            continue
        key = f"{_first(header, 'SeriesInstanceUID')} {header.SOPClassUID}"
        title = (_first(header, "SeriesNumber"), _first(header, "SeriesDescription"))
        names.setdefault(key, " ".join(word for word in title if word))
        series.setdefault(key, []).append((path, _frames(path)))
    if not series:
        raise NotDicom("None of the files is DICOM; name some of one examination.")
    return [_route(names[key], key.split(" ")[0], held, settings) for key, held in series.items()]


def _route(name: str, uid: str, held: Sequence[Held], settings: Settings) -> Route:
    values_of = values_in(held)
    judgements = tuple(judge(settings.rules, values_of))
    choices: tuple[Choice, ...] = ()
    reason, reason_class = "", ""
    try:
        choices = choose(settings.rules, values_of, settings.routing.match)
        # No rule changes what a report or a spin echo is: the step that reads the series would say so.
        _require_images(held)
    except (Permanent, DicomError) as refusal:
        frames = [frame for _, of_file in held for frame in of_file]
        image_type = [str(word) for word in values_of("ImageType")]
        choices, reason_class = (), type(refusal).__name__
        reason = why_ignored(refusal, frames, image_type, bool(settings.rules)) or str(refusal)
    return Route(name or "without a number", uid, len(held), judgements, choices, reason, reason_class)


def _require_images(held: Sequence[Held]) -> None:
    if not any(of_file for _, of_file in held):
        read_frame_headers(held[0][0])


def told(answer: Answer) -> str:
    """Return an answer as a sentence: the attribute, what it is, and what the rule wants it to be."""
    return f"{answer.path} is {_shown(answer)}; it must be {answer.wanted}"


def _shown(answer: Answer) -> str:
    if not answer.values:
        return "absent"
    if _is_identifying(answer.path):
        return "there (not shown: it may name the patient)"
    values = [f"{value:g}" if isinstance(value, float) else repr(value) for value in answer.values]
    more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return ", ".join(values[:MOST_VALUES]) + more


def _is_identifying(path: str) -> bool:
    tags = [(keyword, tag_for_keyword(keyword) or 0) for keyword in path.split(".")]
    return any(
        keyword in IDENTIFYING or Tag(tag).group == PATIENT_GROUP or dictionary_VR(tag) == "PN" for keyword, tag in tags
    )


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    for path in paths:
        if path.is_dir():
            yield from ((inner, False) for inner in sorted(path.rglob("*")) if inner.is_file())
        else:
            yield path, True


def _first(header: Dataset, keyword: str) -> str:
    values = attribute_values(header, keyword)
    return "" if not values else f"{values[0]:g}" if isinstance(values[0], float) else values[0]


def _frames(path: Path) -> list[FrameHeader]:
    try:
        return read_frame_headers(path)
    except DicomError:
        return []
