"""A raw scan becomes echo images, and they say by which weights where a network made them."""

import pytest

from node.reconstruction import reconstruct_scan
from pipeline.networks.weights import verified_digest
from pipeline.recipe import builtin_recipe_text, parse_recipe
from tests.node.raw_streams import raw_ball


@pytest.mark.parametrize(("method", "is_learned"), [("variational_network", True), ("cg_sense", False)])
def test_images_name_the_weights_that_made_them(method: str, is_learned: bool) -> None:
    recipe = parse_recipe(f'{builtin_recipe_text("default")}\n[reconstruction]\nmethod = "{method}"\n')
    made = reconstruct_scan(raw_ball(), recipe)
    assert made.method == method
    assert any(verified_digest(method) in note for note in made.notes) if is_learned else not made.notes
    assert ("conventional_magnitude" in made.companions) is is_learned
