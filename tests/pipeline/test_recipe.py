"""Recipes: read from TOML, refused with the right word, and identified by what they compute."""

import pytest

from pipeline.errors import InvalidRecipe, UnknownMethod
from pipeline.methods import STEPS
from pipeline.recipe import builtin_recipe, builtin_recipe_names, builtin_recipe_text, chain_names, parse_recipe

DEFAULT = builtin_recipe_text("default")


def test_the_built_in_recipes_are_there_and_named_as_they_say() -> None:
    assert {"default", "single_echo", "v_sharp_tv"} <= set(builtin_recipe_names())
    for name in builtin_recipe_names():
        recipe = builtin_recipe(name)
        assert recipe.name == name
        assert len(recipe.description) > 20


def test_recipes_that_change_only_what_is_done_to_k_space_are_no_chains_of_their_own() -> None:
    assert set(builtin_recipe_names()) - set(chain_names()) == {"super_resolution"}


def test_steps_run_in_the_order_of_the_table_whatever_the_order_of_the_text() -> None:
    head, *tables = DEFAULT.split("\n\n")
    turned = "\n\n".join([head, *reversed(tables)])
    assert list(parse_recipe(turned).steps) == [step for step in STEPS if step in builtin_recipe("default").steps]


def test_the_digest_depends_on_what_is_computed_only() -> None:
    recipe = builtin_recipe("default")
    renamed = parse_recipe(DEFAULT.replace('name = "default"', 'name = "site"'))
    assert renamed.digest == recipe.digest
    default = recipe.settings_of("total_field_inversion").regularisation
    spelt = DEFAULT.replace('method = "robust"', f'method = "robust"\nregularisation = {default}')
    assert parse_recipe(spelt).digest == recipe.digest
    changed = DEFAULT.replace('method = "robust"', 'method = "robust"\nregularisation = 0.002')
    assert parse_recipe(changed).digest != recipe.digest
    assert len(recipe.digest) == 64


def test_a_setting_in_the_text_reaches_the_method() -> None:
    recipe = parse_recipe(DEFAULT.replace('method = "robust"', 'method = "robust"\nrounds = 2'))
    assert recipe.settings_of("total_field_inversion").rounds == 2


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ("[total_field_inversion]", "[total_feld_inversion]", "did you mean 'total_field_inversion'"),
        ('"robust"', '"robst"', "did you mean 'robust'"),
        ('"romeo"', '"romeo"\nmod = 3', "no parameter 'mod'"),
    ],
)
def test_an_unknown_word_is_answered_with_the_nearest_right_one(wrong: str, right: str, words: str) -> None:
    with pytest.raises(UnknownMethod, match=words):
        parse_recipe(DEFAULT.replace(wrong, right))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "not valid TOML"),
        ("description = 'no name'", "name is missing"),
        ("name = 'x'\nmasking = 3", "needs a line method"),
        ("name = 'x'\n[masking]\nthreshold = 1", "needs a line method"),
        ("name = 'x'\n[masking]\nmethod = 'phase_quality'", "makes no susceptibility map"),
    ],
)
def test_a_text_that_is_no_recipe_is_refused(text: str, words: str) -> None:
    with pytest.raises(InvalidRecipe, match=words):
        parse_recipe(text)


def test_a_step_without_its_input_is_named_with_the_steps_that_make_it() -> None:
    without = DEFAULT.replace('[echo_combination]\nmethod = "weighted_linear_fit"', "")
    with pytest.raises(InvalidRecipe, match=r"needs 'total_field'.*echo_combination"):
        parse_recipe(without)


def test_a_step_that_needs_what_only_files_hold_is_sent_to_the_command_for_files() -> None:
    if not any("local_fields" in method.inputs for table in STEPS.values() for method in table.values()):
        pytest.fail("the table lost its method of several orientations")
    with pytest.raises(InvalidRecipe, match=r"needs 'local_fields'.*lodestone step"):
        parse_recipe(DEFAULT + '\n[multi_orientation_inversion]\nmethod = "cosmos"\n')


@pytest.mark.parametrize(
    ("companions", "words"),
    [
        ('["r2star", "swi"]', r"'companions: swi' needs 'weighted_image'.*weighting"),
        ('["uncertainty"]', r"needs 'susceptibility_spread'.*dipole_inversion"),
        ('["r2stars"]', "did you mean 'r2star'"),
        ('"r2star"', "a list of names"),
    ],
)
def test_a_companion_that_the_chain_does_not_make_is_refused(companions: str, words: str) -> None:
    changed = DEFAULT.replace('companions = ["local_field", "r2star"]', f"companions = {companions}")
    assert changed != DEFAULT
    with pytest.raises(InvalidRecipe, match=words):
        parse_recipe(changed)


def test_companions_do_not_change_what_a_recipe_is() -> None:
    fewer = parse_recipe(DEFAULT.replace('companions = ["local_field", "r2star"]', ""))
    assert fewer.companions == ()
    assert fewer.digest == parse_recipe(DEFAULT).digest


def test_a_chain_that_inverts_twice_is_refused() -> None:
    both = builtin_recipe_text("v_sharp_tv") + '\n[total_field_inversion]\nmethod = "robust"\n'
    with pytest.raises(InvalidRecipe, match="inverts twice"):
        parse_recipe(both)


def test_an_unknown_built_in_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownMethod, match="did you mean 'default'"):
        builtin_recipe("defualt")


def test_only_a_recipe_that_removes_the_phase_offset_needs_several_echoes() -> None:
    assert builtin_recipe("default").needs_several_echoes
    assert not builtin_recipe("single_echo").needs_several_echoes


def test_a_recipe_may_say_how_images_are_made_of_kspace() -> None:
    recipe = builtin_recipe("default")
    head, rest = DEFAULT.split("\n\n", 1)
    named = parse_recipe(f'{head}\n\n[reconstruction]\nmethod = "zero_filled"\n\n{rest}')
    assert recipe.reconstruction is None
    assert named.reconstruction is not None
    assert named.reconstruction.method == "zero_filled"
    assert list(named.steps) == list(recipe.steps)
    assert named.digest != recipe.digest
    for table, sentence in (
        ('method = "zero_fill"', "did you mean 'zero_filled'"),
        ('method = "zero_filled"\nwidth = 3', "has no parameter 'width'"),
    ):
        with pytest.raises(UnknownMethod, match=sentence):
            parse_recipe(f"{head}\n\n[reconstruction]\n{table}\n\n{rest}")
    with pytest.raises(InvalidRecipe, match=r"needs a line method"):
        parse_recipe(f"{head}\n\n[reconstruction]\n\n{rest}")
