"""Settings are read by name, type and limit; what is wrong is named with what would be right."""

from dataclasses import dataclass

import pytest

from pipeline.errors import InvalidRecipe, UnknownMethod
from pipeline.method import Method, nearest, resolve_settings, setting


@dataclass(frozen=True)
class Settings:
    weight: float = setting(0.5, "ppm", "a weight", minimum=0.0, maximum=1.0)
    steps: int = setting(3, "1", "how often", minimum=1)
    kind: str = setting("soft", "-", "which", choices=("soft", "hard"))
    radii: tuple[float, ...] = setting((3.0, 5.0), "mm", "radii", minimum=1.0)
    is_fast: bool = setting(True, "-", "fast")


METHOD = Method("example", "nobody", lambda artefacts, context, chosen: {}, Settings, (), ())


def test_defaults_are_filled_in_and_whole_numbers_become_real_ones() -> None:
    chosen = resolve_settings(METHOD, {"weight": 1, "radii": [2, 4]}, "here")
    assert chosen == Settings(weight=1.0, radii=(2.0, 4.0))
    assert isinstance(chosen.weight, float)


def test_a_misspelt_parameter_is_answered_with_the_right_word() -> None:
    with pytest.raises(UnknownMethod, match=r"recipe 'x'.*no parameter 'wieght'; did you mean 'weight'\?"):
        resolve_settings(METHOD, {"wieght": 0.2}, "recipe 'x'")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"weight": 1.5}, r"between 0.0 and 1.0 \[ppm\]"),
        ({"weight": float("nan")}, "between 0.0 and 1.0"),
        ({"steps": 0}, "at least 1"),
        ({"steps": 2.5}, "must be a whole number"),
        ({"steps": True}, "must be a whole number"),
        ({"is_fast": 1}, "must be true or false"),
        ({"kind": "loud"}, "one of soft, hard"),
        ({"radii": []}, "must be a list"),
        ({"radii": 3.0}, "must be a list"),
        ({"radii": [0.5]}, "at least 1.0"),
    ],
)
def test_a_value_of_the_wrong_type_or_size_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRecipe, match=words):
        resolve_settings(METHOD, values, "here")


def test_where_no_word_is_near_all_are_named() -> None:
    assert nearest("zzz", ["mask", "field"]) == "known are 'field', 'mask'"
    assert nearest("anything", []) == "there are none"
