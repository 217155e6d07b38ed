"""The contact sheet shows every sample in a row of grey tiles."""

import numpy as np

from pipeline.training.datasets.preview import preview
from pipeline.training.datasets.recipe import DataRecipe


def test_a_contact_sheet_has_a_row_for_each_sample_and_shows_something() -> None:
    recipe = DataRecipe(shape=(16, 18, 20))
    sheet = preview(recipe, 1, n_samples=3)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] == 3 * (18 + 2)
    assert all(row.std() > 10 for row in np.split(sheet, 3))
    assert np.array_equal(sheet, preview(recipe, 1, n_samples=3))
