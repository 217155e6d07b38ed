"""The mapping process as its parent sees it: a request on its input, progress and one result on its output."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from node.child_request import ask_child

MODULE = "node.mapping_process"


@dataclass(frozen=True)
class MappingRequest:
    """What the child is to do; paths of an acquisition artefact and of the artefact that it shall write."""

    acquisition: str
    recipe_text: str
    output: str
    device: str
    threads: int
    memory_limit_gib: float


@dataclass(frozen=True)
class MappingResult:
    """What the child says about a finished run; `quality` is what `Quality.as_dict` gives."""

    device: str
    quality: dict[str, Any]
    seconds_per_step: dict[str, float] = field(default_factory=dict)
    peak_memory_gib: float = 0.0


def map_in_child(
    request: MappingRequest,
    timeout_s: float,
    on_progress: Callable[[str, float], None],
    is_wanted: Callable[[], bool],
) -> MappingResult:
    """Run one mapping in a child process, and kill it when time is up or nobody wants its result any more.

    Raises
    ------
    ChildDied
        The child ended without a result, or ran longer than `timeout_s` [s].
    Superseded
        `is_wanted` said no.
    PipelineError
        The child's own refusal, as the class it had there.
    """
    return MappingResult(**ask_child(MODULE, "mapping", asdict(request), timeout_s, on_progress, is_wanted))
