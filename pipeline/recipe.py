"""Recipes: which method does each step of the chain, with which settings; read from TOML, identified by a digest."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from pipeline.errors import InvalidRecipe, UnknownMethod
from pipeline.maps import COMPANION_SERIES
from pipeline.method import Method, MethodChoice, nearest, resolve_settings
from pipeline.methods import FINER, IMAGE_STEPS, RECONSTRUCTION, STEPS
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.super_resolution import Refinement
from pipeline.reconstruction.table import DEFAULT_RECONSTRUCTION

_SUFFIX = ".toml"
_ACQUIRED = frozenset({"phase", "magnitude"})


@dataclass(frozen=True)
class Recipe:
    """A chain of steps, in the order in which they run.

    `companions` are the maps that are to be seen beside the susceptibility, words of `COMPANION_SERIES`.
    `reconstruction` says how images are made of k-space, and `super_resolution` how they are made finer, where they
    are; images that came as images do not ask for it.
    """

    name: str
    description: str
    steps: Mapping[str, MethodChoice]
    companions: tuple[str, ...] = ()
    reconstruction: MethodChoice | None = None
    super_resolution: MethodChoice | None = None

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the chain with every default written out.

        Name, description and companions do not enter: they change no voxel of a map. What is done to k-space enters
        where the recipe names it.
        """
        resolved = {
            step: {"method": choice.method, "settings": asdict(self.settings_of(step))}
            for step, choice in self.steps.items()
        }
        for step, choice in self.image_steps.items():
            resolved[step] = {"method": choice.method, "settings": asdict(self.image_settings(step))}
        text = json.dumps(resolved, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def method_of(self, step: str) -> Method:
        """Return the method of a step of this recipe."""
        return find_method(step, self.steps[step].method)

    def settings_of(self, step: str) -> Any:
        """Return the complete settings of a step of this recipe."""
        choice = self.steps[step]
        return resolve_settings(self.method_of(step), choice.settings, f"recipe '{self.name}', step '{step}'")

    @property
    def reconstruction_settings(self) -> Any:
        """Return the complete settings of the reconstruction, the default one where the recipe names none."""
        return self.image_settings(RECONSTRUCTION)

    @property
    def image_steps(self) -> dict[str, MethodChoice]:
        """Return what the recipe names of what makes images of k-space, by step."""
        named = {RECONSTRUCTION: self.reconstruction, FINER: self.super_resolution}
        return {step: choice for step, choice in named.items() if choice is not None}

    def image_settings(self, step: str) -> Any:
        """Return the complete settings of a step that makes images of k-space."""
        choice = self.image_steps.get(step) or MethodChoice(DEFAULT_RECONSTRUCTION)
        way = find_image_method(step, choice.method)
        return resolve_settings(way, choice.settings, f"recipe '{self.name}', step '{step}'")

    @property
    def needs_several_echoes(self) -> bool:
        """Say whether a method of this recipe cannot work on one echo."""
        return "phase_offset_removal" in self.steps and self.steps["phase_offset_removal"].method != "none"

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the networks whose trained weights this recipe needs."""
        return tuple(self.method_of(step).name for step in self.steps if self.method_of(step).learned)

    @property
    def image_networks(self) -> tuple[str, ...]:
        """Return the networks whose trained weights the images of k-space need."""
        ways = [find_image_method(step, choice.method) for step, choice in self.image_steps.items()]
        return tuple(way.name for way in ways if way.learned)


def find_method(step: str, name: str) -> Method:
    """Return the method of that name for a step.

    Raises
    ------
    UnknownMethod
        The step or the method does not exist; the sentence names the nearest right one.
    """
    if step not in STEPS:
        raise UnknownMethod(f"There is no step '{step}'; {nearest(step, STEPS)}")
    if name not in STEPS[step]:
        raise UnknownMethod(f"Step '{step}' has no method '{name}'; {nearest(name, STEPS[step])}")
    return STEPS[step][name]


def find_image_method(step: str, name: str) -> Reconstruction | Refinement:
    """Return the way of that name to make images of k-space, or to make them finer.

    Raises
    ------
    UnknownMethod
        There is none; the sentence names the nearest right one.
    """
    if name not in IMAGE_STEPS[step]:
        raise UnknownMethod(f"Step '{step}' has no method '{name}'; {nearest(name, IMAGE_STEPS[step])}")
    return IMAGE_STEPS[step][name]


def parse_recipe(text: str) -> Recipe:
    """Read a recipe from TOML: `name`, `description`, `companions`, and one table per step with `method` and settings.

    Raises
    ------
    UnknownMethod
        A step, method or parameter does not exist; the sentence names the nearest right one.
    InvalidRecipe
        The text is not TOML, a value is out of range, or a step lacks what an earlier one must make.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRecipe(f"The recipe is not valid TOML: {error}.") from error
    name, description = document.pop("name", None), document.pop("description", "")
    if not isinstance(name, str) or not name or not isinstance(description, str):
        raise InvalidRecipe('A recipe starts with name = "..." and description = "..."; the name is missing.')
    companions = _companions(name, document.pop("companions", []))
    reconstruction, finer = (_image_choice(step, document.pop(step, None)) for step in (RECONSTRUCTION, FINER))
    choices = {step: _choice(step, table) for step, table in document.items()}
    steps = {step: choices[step] for step in STEPS if step in choices}
    recipe = Recipe(name, description, steps, companions, reconstruction, finer)
    for step in recipe.image_steps:
        # So that a mistake is refused when the recipe is read and not when the first scan comes.
        recipe.image_settings(step)
    for step in recipe.steps:
        recipe.settings_of(step)
    _check_chain(recipe)
    return recipe


def builtin_recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with Lodestone, in alphabetical order."""
    entries = (resources.files("pipeline") / "recipes").iterdir()
    return tuple(sorted(entry.name.removesuffix(_SUFFIX) for entry in entries if entry.name.endswith(_SUFFIX)))


def chain_names() -> tuple[str, ...]:
    """Return the names of those that come with Lodestone and differ in what they do to images, not to k-space alone."""
    return tuple(name for name in builtin_recipe_names() if not builtin_recipe(name).image_steps)


def builtin_recipe_text(name: str) -> str:
    """Return the TOML of a recipe that comes with Lodestone, or refuse with the nearest right name."""
    names = builtin_recipe_names()
    if name not in names:
        raise UnknownMethod(f"There is no built-in recipe '{name}'; {nearest(name, names)}")
    return (resources.files("pipeline") / "recipes" / f"{name}{_SUFFIX}").read_text("utf-8")


def builtin_recipe(name: str) -> Recipe:
    """Return a recipe that comes with Lodestone, or refuse with the nearest right name."""
    return parse_recipe(builtin_recipe_text(name))


def _image_choice(step: str, table: object) -> MethodChoice | None:
    if table is None:
        return None
    if not isinstance(table, dict) or not isinstance(table.get("method"), str):
        raise InvalidRecipe(f"Step '{step}' needs a line method = \"...\"; {nearest('', IMAGE_STEPS[step])}.")
    return MethodChoice(table["method"], {key: value for key, value in table.items() if key != "method"})


def _choice(step: str, table: object) -> MethodChoice:
    if step not in STEPS:
        raise UnknownMethod(f"There is no step '{step}'; {nearest(step, STEPS)}")
    if not isinstance(table, dict) or not isinstance(table.get("method"), str):
        raise InvalidRecipe(f"Step '{step}' needs a line method = \"...\"; {nearest('', STEPS[step])}.")
    settings = {key: value for key, value in table.items() if key != "method"}
    find_method(step, table["method"])
    return MethodChoice(table["method"], settings)


def _companions(name: str, wanted: object) -> tuple[str, ...]:
    if not isinstance(wanted, list) or not all(isinstance(word, str) for word in wanted):
        example = 'companions = ["local_field", "r2star"]'
        raise InvalidRecipe(f"Recipe '{name}': companions are a list of names, for instance {example}.")
    for word in wanted:
        if word not in COMPANION_SERIES:
            raise InvalidRecipe(f"Recipe '{name}' knows no companion '{word}'; {nearest(word, COMPANION_SERIES)}")
    return tuple(dict.fromkeys(wanted))


def _check_chain(recipe: Recipe) -> None:
    """Refuse a chain in which a step lacks an input, or that ends without a susceptibility map."""
    made = set(_ACQUIRED)
    for step in recipe.steps:
        missing = [name for name in recipe.method_of(step).inputs if name not in made]
        if missing:
            raise InvalidRecipe(_missing_sentence(recipe, step, missing[0]))
        made.update(recipe.method_of(step).outputs)
    if "susceptibility" not in made:
        raise InvalidRecipe(
            f"Recipe '{recipe.name}' makes no susceptibility map; add 'total_field_inversion', or "
            "'background_field_removal' and 'dipole_inversion'."
        )
    if not {"mask", "total_field", "field_noise"} <= made:
        raise InvalidRecipe(
            f"Recipe '{recipe.name}' makes no mask or no total field, by which its maps are judged; "
            "add 'masking', 'phase_unwrapping' and 'echo_combination'."
        )
    # A method without a field of its own is given its map's field, so that there is always a local field.
    for word in recipe.companions:
        artefact = COMPANION_SERIES[word]
        if artefact not in made | {"local_field"}:
            raise InvalidRecipe(_missing_sentence(recipe, f"companions: {word}", artefact))
    if {"dipole_inversion", "total_field_inversion"} <= set(recipe.steps):
        raise InvalidRecipe(f"Recipe '{recipe.name}' inverts twice; keep dipole_inversion or total_field_inversion.")


def _missing_sentence(recipe: Recipe, step: str, artefact: str) -> str:
    makers = [maker for maker, table in STEPS.items() if any(artefact in method.outputs for method in table.values())]
    remedy = (
        f"add one of: {', '.join(makers)}."
        if makers
        else "no step makes it: run the step alone on files, `lodestone step`."
    )
    return f"Recipe '{recipe.name}': '{step}' needs '{artefact}', which no earlier step makes; {remedy}"
