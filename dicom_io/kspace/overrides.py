"""What a site states beside raw data, in a sidecar: their patient and study, and what their header lacks."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.valuerep import validate_value

from dicom_io.errors import MalformedRawData
from dicom_io.kspace.mrd_header import IDENTITY
from dicom_io.kspace.scan import RawHeader, Space

ABSENT = "absent"
SUFFIXES = (".toml", ".json")
_KNOWN = ("identity", "echo_times_ms", "field_strength_t", "field_of_view_mm", "noise")
_IDENTIFIES = frozenset(keyword for _, _, keyword in IDENTITY)


@dataclass(frozen=True)
class Overrides:
    """What replaces or completes a header; None where the header stands.

    `identity` maps DICOM keywords to values. `field_of_view_mm` is that of the images along `(z, y, x)`.
    `is_without_noise` says that the scan has no noise measurement and is to be reconstructed without one.
    """

    identity: Mapping[str, str] = field(default_factory=dict)
    echo_times_s: tuple[float, ...] | None = None
    field_strength_t: float | None = None
    field_of_view_mm: tuple[float, float, float] | None = None
    is_without_noise: bool = False

    def applied_to(self, header: RawHeader) -> RawHeader:
        """Return a header with these values; a field of view covers the encoded space in proportion."""
        changed: dict[str, Any] = {"identity": {**header.identity, **self.identity}}
        if self.echo_times_s is not None:
            changed["echo_times_s"] = self.echo_times_s
        if self.field_strength_t is not None:
            changed["field_strength_t"] = self.field_strength_t
        if self.field_of_view_mm is not None:
            view, shape = self.field_of_view_mm, header.recon.shape
            changed["recon"] = Space(shape, view)
            sizes = [length / max(1, size) for length, size in zip(view, shape, strict=True)]
            encoded = [size * number for size, number in zip(sizes, header.encoded.shape, strict=True)]
            # Where one matrix stands for both, what was sampled is what is shown.
            changed["encoded"] = Space(header.encoded.shape, (encoded[0], encoded[1], encoded[2]))
        return replace(header, **changed)

    def as_text(self) -> str:
        """Return the values as JSON, empty where there are none; the same values give the same text."""
        document: dict[str, Any] = {}
        if self.identity:
            document["identity"] = dict(sorted(self.identity.items()))
        if self.echo_times_s is not None:
            document["echo_times_ms"] = [round(1000 * time, 9) for time in self.echo_times_s]
        if self.field_strength_t is not None:
            document["field_strength_t"] = self.field_strength_t
        if self.field_of_view_mm is not None:
            document["field_of_view_mm"] = list(self.field_of_view_mm[::-1])
        if self.is_without_noise:
            document["noise"] = ABSENT
        return json.dumps(document, sort_keys=True) if document else ""


def sidecar_of(path: Path) -> Path | None:
    """Return the sidecar beside a file of raw data: its name with `.toml` or `.json` for its suffix, or added."""
    candidates = [path.with_suffix(suffix) for suffix in SUFFIXES]
    candidates += [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_sidecar(path: Path) -> Overrides:
    """Read a sidecar, TOML or JSON.

    Raises
    ------
    MalformedRawData
        It is neither, or holds a key or value that cannot be; the sentence names the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as failure:
        raise MalformedRawData(f"The sidecar {path.suffix} is neither TOML nor JSON; correct it.") from failure
    return parse_overrides(document)


def parse_overrides(document: object) -> Overrides:
    """Read overrides from plain values.

    Raises
    ------
    MalformedRawData
        A key or value cannot be.
    """
    if not isinstance(document, dict):
        raise MalformedRawData("The sidecar holds no table of keys; correct it.")
    unknown = sorted(set(document) - set(_KNOWN))
    if unknown:
        raise MalformedRawData(f"The sidecar holds the unknown key {unknown[0]!r}; known are {', '.join(_KNOWN)}.")
    times = _numbers(document, "echo_times_ms", None)
    view = _numbers(document, "field_of_view_mm", 3)
    strength = _numbers({key: [value] for key, value in document.items()}, "field_strength_t", 1)
    if document.get("noise", ABSENT) != ABSENT:
        raise MalformedRawData(f'The sidecar\'s key "noise" can only be "{ABSENT}"; correct it.')
    return Overrides(
        _identity(document.get("identity", {})),
        None if times is None else tuple(time / 1000 for time in times),
        None if strength is None else strength[0],
        None if view is None else (view[2], view[1], view[0]),
        "noise" in document,
    )


def _numbers(document: Mapping[str, Any], key: str, count: int | None) -> list[float] | None:
    if key not in document:
        return None
    given = document[key]
    is_right = isinstance(given, list) and all(isinstance(one, int | float) and one > 0 for one in given)
    if not is_right or not given or (count is not None and len(given) != count):
        expected = f"{count} numbers" if count else "numbers"
        raise MalformedRawData(f'The sidecar\'s key "{key}" must hold {expected} above 0; correct it.')
    return [float(one) for one in given]


def _identity(given: object) -> dict[str, str]:
    if not isinstance(given, dict):
        raise MalformedRawData('The sidecar\'s key "identity" must be a table of DICOM keywords; correct it.')
    found = {}
    for keyword, value in given.items():
        tag = tag_for_keyword(keyword)
        if keyword not in _IDENTIFIES or tag is None:
            known = ", ".join(sorted(_IDENTIFIES))
            raise MalformedRawData(f"The sidecar's identity has no {keyword!r}; known are {known}.")
        try:
            validate_value(dictionary_VR(tag), str(value), RAISE)
        except ValueError as failure:
            raise MalformedRawData(f"The sidecar's {keyword} has a value that DICOM does not allow.") from failure
        found[keyword] = str(value)
    return found
