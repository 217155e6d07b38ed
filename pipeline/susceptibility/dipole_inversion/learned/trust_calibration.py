"""What the trust in a network's maps rests on: figures measured on known truths, stored beside its weights."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import WeightsAltered, WeightsMissing
from pipeline.networks.weights import FOLDER, weights_digest
from pipeline.susceptibility.dipole_inversion.learned.envelope import Envelope
from pipeline.susceptibility.dipole_inversion.learned.gates import GateLimits
from pipeline.susceptibility.dipole_inversion.learned.intervals import IntervalScale

_HEADING = """\
# Measured by `lodestone evaluate {name} --calibrate` on scans with known truth; it belongs to the weights whose SHA-256
# it states, and is refused beside others.
"""


@dataclass(frozen=True)
class TrustCalibration:
    """The envelope of usual inputs, the limits of the gates, and the scales of intervals of the maps.

    Attributes
    ----------
    sha256
        The weights that it was measured with.
    n_members
        Size of the ensemble that it was measured with.
    envelope, limits
        See there.
    learned, classical
        Scales for the network's map and for its classical twin.
    figures
        What was seen on the calibration scans, for a reader.
    """

    sha256: str
    n_members: int
    envelope: Envelope
    limits: GateLimits
    learned: IntervalScale
    classical: IntervalScale
    figures: Mapping[str, float]


def calibration_file(name: str, folder: Path = FOLDER) -> Path:
    """Return where the calibration of a network's weights lies."""
    return folder / f"{name}.calibration.toml"


def load_calibration(name: str, folder: Path = FOLDER) -> TrustCalibration:
    """Return the calibration of a network's weights.

    Raises
    ------
    WeightsUnknown
        No weights are listed for the network.
    WeightsMissing
        There is no calibration; the sentence holds the command that makes it.
    WeightsAltered
        It cannot be read, or it belongs to other weights.
    """
    path = calibration_file(name, folder)
    digest = weights_digest(name, folder)
    redo = f"Measure it anew: lodestone evaluate {name} --calibrate"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        found = _calibration(entries)
    except FileNotFoundError as error:
        raise WeightsMissing(f"The calibration {path} of the weights of {name} is missing. {redo}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise WeightsAltered(f"The calibration {path} cannot be read ({error}). {redo}") from error
    if found.sha256 != digest:
        raise WeightsAltered(
            f"The calibration {path} belongs to weights with SHA-256 {found.sha256[:12]}…, but {digest[:12]}… is "
            f"listed. {redo}"
        )
    return found


def store_calibration(calibration: TrustCalibration, name: str, folder: Path = FOLDER) -> Path:
    """Write a calibration beside the weights; the file is replaced as a whole."""
    envelope, limits = calibration.envelope, calibration.limits
    sections: dict[str, Mapping[str, Any]] = {
        "envelope": vars(envelope),
        "limits": vars(limits),
        "learned": vars(calibration.learned),
        "classical": vars(calibration.classical),
        "figures": calibration.figures,
    }
    lines = [_HEADING.format(name=name), f'sha256 = "{calibration.sha256}"', f"n_members = {calibration.n_members}"]
    for section, entries in sections.items():
        lines += ["", f"[{section}]", *(f"{_key(key)} = {_value(value)}" for key, value in entries.items())]
    path = calibration_file(name, folder)
    part = path.with_name(path.name + ".part")
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def _calibration(entries: Mapping[str, Any]) -> TrustCalibration:
    return TrustCalibration(
        sha256=str(entries["sha256"]),
        n_members=int(entries["n_members"]),
        envelope=Envelope(**_tupled(entries["envelope"])),
        limits=GateLimits(**_tupled(entries["limits"])),
        learned=IntervalScale(**_tupled(entries["learned"])),
        classical=IntervalScale(**_tupled(entries["classical"])),
        figures={name: float(value) for name, value in entries["figures"].items()},
    )


def _tupled(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _tuple(value) if isinstance(value, list) else float(value) for name, value in entries.items()}


def _tuple(values: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_tuple(value) if isinstance(value, list) else float(value) for value in values)


def _key(name: str) -> str:
    return f'"{name}"'


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    number = float(value)
    if not math.isfinite(number):
        return "nan" if math.isnan(number) else ("inf" if number > 0 else "-inf")
    return f"{number:.9g}" if "." in f"{number:.9g}" or "e" in f"{number:.9g}" else f"{number:.9g}.0"
