"""Two scenes made into one: added, or one inside a random region and the other around it."""

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import smooth_field
from pipeline.training.datasets.shapes import extent_mm, random_solid


def mixed(first: Scene, second: Scene, grid: Grid, chance: Chance) -> Scene:
    """Return the first scene with the second added to it, or with the second in a part of the space.

    Parameters
    ----------
    first
        Gives the object's surface; it is painted over.
    second
        What comes to it.
    grid
        The grid of both.
    chance
        Draws the way and the region.
    """
    if chance.happens(0.5):
        first.susceptibility.add_(second.susceptibility, alpha=chance.log_uniform(0.2, 1.0))
        return first
    canvas = Canvas(grid, chance)
    if chance.happens(0.6):
        length = extent_mm(grid) * chance.log_uniform(0.1, 0.6)
        distance = smooth_field(grid, length, chance).add_(chance.uniform(-0.5, 0.5)).mul_(length / 2)
    else:
        solid, size = random_solid(canvas, chance)
        distance = solid.distance(canvas.points).sub_(max(0.0, extent_mm(grid) * chance.uniform(0.1, 0.3) - size))
    share = inside(distance, canvas.edge_mm * chance.log_uniform(1.0, 6.0))
    first.susceptibility.lerp_(second.susceptibility, share)
    first.signal.lerp_(second.signal, share)
    return first
