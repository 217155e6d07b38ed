"""Find a recipe by name: a site's own folder first, then those that come with Lodestone; or read one TOML file."""

from pathlib import Path

from node.errors import InvalidSettings
from pipeline.errors import UnknownMethod
from pipeline.method import nearest
from pipeline.recipe import Recipe, builtin_recipe_names, builtin_recipe_text, parse_recipe

BUILTIN = "Lodestone"
SUFFIX = ".toml"


def known_recipes(directory: Path | None = None) -> dict[str, str]:
    """Return every recipe's name, and where it is from: `Lodestone`, or the site's folder."""
    known = dict.fromkeys(builtin_recipe_names(), BUILTIN)
    if directory is not None:
        if not directory.is_dir():
            raise InvalidSettings(f"The folder of recipes {directory} does not exist; correct [recipes] directory.")
        known |= {path.stem: str(directory) for path in sorted(directory.glob(f"*{SUFFIX}"))}
    return known


def read_recipe(name: str, directory: Path | None = None) -> tuple[Recipe, str]:
    """Return a recipe and its TOML text; `name` ending in `.toml` is a file, anything else a known recipe's name.

    Raises
    ------
    UnknownMethod
        No recipe has that name; the sentence names the nearest. Or the recipe names an unknown step or method.
    InvalidRecipe
        The recipe cannot be read, or a value is out of range.
    """
    if name.endswith(SUFFIX):
        text = Path(name).read_text(encoding="utf-8")
        return parse_recipe(text), text
    known = known_recipes(directory)
    if name not in known:
        raise UnknownMethod(f"There is no recipe '{name}'; {nearest(name, known)}")
    if known[name] == BUILTIN:
        text = builtin_recipe_text(name)
    else:
        assert directory is not None
        text = (directory / f"{name}{SUFFIX}").read_text(encoding="utf-8")
    return parse_recipe(text), text
