"""The table of generators: each makes susceptibility of one character on a grid."""

from collections.abc import Callable

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Scene
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.composite import composite
from pipeline.training.datasets.facets import facets
from pipeline.training.datasets.heads import heads
from pipeline.training.datasets.laminae import laminae
from pipeline.training.datasets.leaves import leaves
from pipeline.training.datasets.levels import levels
from pipeline.training.datasets.scatter import scatter
from pipeline.training.datasets.shapes import shapes
from pipeline.training.datasets.texture import texture
from pipeline.training.datasets.vessels import vessels

GENERATORS: dict[str, Callable[[Grid, Chance], Scene]] = {
    "anatomy": heads,
    "shapes": shapes,
    "texture": texture,
    "vessels": vessels,
    "leaves": leaves,
    "levels": levels,
    "laminae": laminae,
    "facets": facets,
    "scatter": scatter,
    "composite": composite,
}
