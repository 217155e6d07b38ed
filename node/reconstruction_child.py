"""The reconstructing process as its parent sees it: what it is asked, and what it answers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from node.child_request import ask_child

MODULE = "node.reconstruction_process"


@dataclass(frozen=True)
class ReconstructionRequest:
    """What the child is to do: the Raw Data object, where raw data are kept, and where its two artefacts go."""

    raw_object: str
    kspace_folder: str
    recipe_text: str
    output: str
    companions_output: str
    needs_noise: bool
    device: str
    threads: int
    memory_limit_gib: float


@dataclass(frozen=True)
class ReconstructionResult:
    """What the child says about a finished reconstruction.

    `shape` and `voxel_size_mm` are those of the images `(z, y, x)`. `findings` are sentences with names, figures and
    whether they are warnings; `notes` what was noticed while reading.
    """

    device: str
    method: str
    settings: dict[str, Any]
    shape: list[int]
    voxel_size_mm: list[float]
    findings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds_per_step: dict[str, float] = field(default_factory=dict)
    peak_memory_gib: float = 0.0


def reconstruct_in_child(
    request: ReconstructionRequest,
    timeout_s: float,
    on_progress: Callable[[str, float], None],
    is_wanted: Callable[[], bool],
) -> ReconstructionResult:
    """Reconstruct one scan in a child process.

    Raises
    ------
    ChildDied
        The child ended without a result, or ran longer than `timeout_s` [s].
    Superseded
        `is_wanted` said no.
    DicomError, PipelineError
        The child's own refusal, as the class it had there.
    """
    answer = ask_child(MODULE, "reconstruction", asdict(request), timeout_s, on_progress, is_wanted)
    return ReconstructionResult(**answer)
