"""Recipes are found by name, a site's own first, or read from a file."""

from pathlib import Path

import pytest

from node.errors import InvalidSettings
from node.recipe_files import known_recipes, read_recipe
from pipeline.errors import UnknownMethod
from pipeline.recipe import builtin_recipe_text


def test_a_sites_recipe_replaces_the_one_of_that_name(tmp_path: Path) -> None:
    text = builtin_recipe_text("default").replace('description = "', 'description = "Ours. ', 1)
    (tmp_path / "default.toml").write_text(text)

    recipe, found = read_recipe("default", tmp_path)

    assert recipe.description.startswith("Ours.")
    assert found == text
    assert known_recipes(tmp_path)["default"] == str(tmp_path)


def test_a_name_ending_in_toml_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(builtin_recipe_text("default"))

    assert read_recipe(str(path))[0].digest == read_recipe("default")[0].digest


def test_an_unknown_recipe_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownMethod, match="did you mean 'default'"):
        read_recipe("defualt")


def test_a_name_can_not_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.toml").write_text(builtin_recipe_text("default"))
    (tmp_path / "recipes").mkdir()

    with pytest.raises(UnknownMethod):
        read_recipe("../secret", tmp_path / "recipes")


def test_a_missing_folder_of_recipes_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="recipes"):
        known_recipes(tmp_path / "nowhere")
