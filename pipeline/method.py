"""What a method is: a step of the chain done in one way, with its settings, inputs, outputs and source.

Each file under `pipeline/susceptibility` ends with one `Method` per way it knows, named like the method in capitals
(`V_SHARP`, `TOTAL_VARIATION`); `pipeline/methods.py` lists them.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Protocol

from torch import Tensor

from pipeline.errors import InvalidRecipe, NotConverged, UnknownMethod
from pipeline.grid import Grid
from pipeline.input_check import all_finite, checked_inputs, refuse_wrong_context

_KINDS = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}

OnIteration = Callable[[float], None]
"""Called with the fraction done (0 to 1) of a long iteration; may raise to cancel the job."""

LEARNED_MAP_USED = "learned_map_used"
"""The figure by which a learned method tells whose map it gave: 1 the network's, 0 the classical one in its place."""


@dataclass(frozen=True)
class Finding:
    """What a method found out about its own result: a sentence for the report, and the figures behind it.

    A warning is something that a reader must know before using the map; any other finding says that a check was passed.
    """

    name: str
    sentence: str
    figures: Mapping[str, float] = field(default_factory=dict)
    is_warning: bool = True


OnFinding = Callable[[Finding], None]
"""Called with what a method found out about its own result."""


@dataclass(frozen=True)
class StepContext:
    """What a method may know beside its arrays: the grid, the echo times [s], the field strength [T], listeners.

    `b0_directions` holds the unit vector of B0 along `(z, y, x)` for each of several head orientations on one grid.
    """

    grid: Grid
    echo_times_s: tuple[float, ...] = ()
    b0_tesla: float | None = None
    on_iteration: OnIteration | None = None
    b0_directions: tuple[tuple[float, float, float], ...] = ()
    on_finding: OnFinding | None = None


@dataclass(frozen=True)
class NoSettings:
    """A method without settings."""


@dataclass(frozen=True)
class Method:
    """One way to do one step. `run(artefacts, context, settings)` returns the artefacts named in `outputs`.

    `memory_volumes` is the most working memory it takes beside inputs and outputs, as a multiple of one float32 volume,
    measured on a head that fills the field of view.
    """

    name: str
    citation: str
    run: Callable[[Mapping[str, Tensor], StepContext, Any], dict[str, Tensor]]
    settings: type
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    optional_inputs: tuple[str, ...] = ()
    learned: bool = False
    devices: tuple[str, ...] = ("cpu", "cuda")
    memory_volumes: float = 12.0

    def apply(self, artefacts: Mapping[str, Tensor], context: StepContext, settings: Any) -> dict[str, Tensor]:
        """Check the inputs, run the method on those that it takes, and check what it made.

        Raises
        ------
        UnusableInput
            An input is missing, has a wrong shape, holds values that are not finite, or the mask is empty.
        NotConverged
            The method made values that are not finite.
        """
        refuse_wrong_context(context.grid, context.echo_times_s, context.b0_tesla)
        known = {name: artefacts[name] for name in (*self.inputs, *self.optional_inputs) if name in artefacts}
        given = checked_inputs(self.inputs, known, context.grid, context.echo_times_s, f"method '{self.name}'")
        made = self.run(given, context, settings)
        for name, values in made.items():
            if values.is_floating_point() and not all_finite(values):
                raise NotConverged(
                    f"Method '{self.name}' diverged: its {name.replace('_', ' ')} holds values that are not finite. "
                    "Check the mask and the field, or choose stronger regularisation."
                )
        return made


@dataclass(frozen=True)
class MethodChoice:
    """The method chosen for a step and the settings that differ from its defaults."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)


class Configurable(Protocol):
    """Whatever has a name and a dataclass of settings, as methods and reconstructions have."""

    @property
    def name(self) -> str:
        """Return the name by which recipes choose it."""

    @property
    def settings(self) -> type:
        """Return the dataclass of its settings."""


def setting(
    default: Any,
    unit: str,
    explanation: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """Declare a field of a settings dataclass with its unit, one line of help and its limits."""
    metadata = {"unit": unit, "help": explanation, "minimum": minimum, "maximum": maximum, "choices": choices}
    return field(default=default, metadata=metadata)


def nearest(wrong: str, right: Iterable[str]) -> str:
    """Return a half sentence that names the right word nearest to a wrong one, or all of them where none is near."""
    names = sorted(right)
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    return "known are " + ", ".join(f"'{name}'" for name in names) if names else "there are none"


def resolve_settings(method: Configurable, values: Mapping[str, object], where: str) -> Any:
    """Build a method's settings from plain values, defaults filled in.

    Raises
    ------
    UnknownMethod
        A parameter does not exist; the sentence names the nearest right one.
    InvalidRecipe
        A value has the wrong type or lies outside its limits.
    """
    declared = {item.name: item for item in fields(method.settings)}
    resolved: dict[str, object] = {}
    for name, value in values.items():
        if name not in declared:
            raise UnknownMethod(f"{where}: method '{method.name}' has no parameter '{name}'; {nearest(name, declared)}")
        item = declared[name]
        assert item.default is not MISSING
        resolved[name] = _checked(value, item.default, dict(item.metadata), f"{where}: parameter '{name}'")
    return method.settings(**resolved)


def _checked(value: Any, default: Any, metadata: Mapping[str, Any], subject: str) -> Any:
    """Return a value in the type of its default, or refuse it."""
    if isinstance(default, tuple):
        if not isinstance(value, list | tuple) or len(value) == 0:
            raise InvalidRecipe(f"{subject} must be a list like {list(default)}; it is {value!r}.")
        return tuple(_checked(entry, default[0], metadata, subject) for entry in value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not type(default):
        raise InvalidRecipe(f"{subject} must be {_KINDS[type(default)]}, like {default!r}; it is {value!r}.")
    lowest, highest, choices = metadata.get("minimum"), metadata.get("maximum"), metadata.get("choices")
    if choices is not None and value not in choices:
        raise InvalidRecipe(f"{subject} must be one of {', '.join(choices)}; it is {value!r}.")
    # Written so that NaN fails both comparisons and is refused too.
    if (lowest is not None and not value >= lowest) or (highest is not None and not value <= highest):
        limits = f"between {lowest} and {highest}" if None not in (lowest, highest) else f"at least {lowest}"
        limits = limits if lowest is not None else f"at most {highest}"
        raise InvalidRecipe(f"{subject} must be {limits} [{metadata.get('unit', '')}]; it is {value!r}.")
    return value
