"""Pieces of an evaluation that are done, kept in a folder: one that was stopped goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.studies.region_metrics import RegionError
from pipeline.training.evaluation_axes import Level
from pipeline.training.evaluation_results import Result


@dataclass(frozen=True)
class KeptPieces:
    """A folder with a file per piece of work.

    Attributes
    ----------
    folder
        Made where it is missing.
    origin
        Whatever decides the figures beside the piece itself: code, weights, methods. A piece of another origin is
        computed anew.
    """

    folder: Path
    origin: str

    def find(self, piece: object) -> list[Result] | None:
        """Return what was kept of a piece; None where there is nothing, or nothing that can be read."""
        try:
            document = json.loads(self._path(piece).read_text("utf-8"))
            return [_result(row) for row in document["results"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, piece: object, results: list[Result]) -> None:
        """Write what was found; a stop in the middle leaves no half file behind the name."""
        path = self._path(piece)
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"piece": repr(piece), "origin": self.origin, "results": [asdict(result) for result in results]}
        partial = path.with_suffix(".part")
        partial.write_text(json.dumps(document), "utf-8")
        partial.replace(path)

    def _path(self, piece: object) -> Path:
        digest = hashlib.sha256(f"{self.origin}\n{piece!r}".encode()).hexdigest()
        return self.folder / f"{digest[:24]}.json"


def _result(row: Mapping[str, Any]) -> Result:
    level = row["level"]
    regions = tuple(RegionError(**region) for region in row["regions"])
    return Result(**{**row, "level": None if level is None else Level(**level), "regions": regions})
