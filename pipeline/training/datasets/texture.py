"""Textures: noise at every scale, sparse blobs and fibres, as uneven as tissue is and seldom flat."""

from torch import Tensor

from pipeline.grid import Grid
from pipeline.training.datasets.canvas import Canvas, Scene, inside
from pipeline.training.datasets.chance import Chance
from pipeline.training.datasets.fields import rough_field, smooth_field, sparse_field
from pipeline.training.datasets.shapes import extent_mm, limited, random_support


def texture(grid: Grid, chance: Chance) -> Scene:
    """Return noise with power 1/f^β (β 1.2 to 4) or sparse blobs of several sizes, often two kinds side by side."""
    canvas = Canvas(grid, chance)
    canvas.susceptibility.add_(_grain(canvas, chance), alpha=chance.log_normal(0.03, 0.7))
    if chance.happens(0.6):
        _lay_other_grain(canvas, chance)
    canvas.susceptibility.clamp_(-limited(2.0), limited(2.0))
    canvas.signal.add_(rough_field(grid, chance.uniform(2.0, 4.0), chance), alpha=chance.uniform(0.0, 0.15))
    canvas.signal.clamp_min_(0.2)
    return canvas.scene(random_support(canvas, chance))


def _grain(canvas: Canvas, chance: Chance) -> Tensor:
    kind = chance.choice(("rough", "sparse", "both"), (0.5, 0.25, 0.25))
    if kind == "rough":
        return _rough(canvas, chance)
    grain = _blobs(canvas, chance)
    if kind == "both":
        grain.add_(_rough(canvas, chance), alpha=chance.uniform(0.2, 1.0))
    return grain


def _rough(canvas: Canvas, chance: Chance) -> Tensor:
    coarsest = extent_mm(canvas.grid) * chance.log_uniform(0.2, 1.0)
    return rough_field(canvas.grid, chance.uniform(1.2, 4.0), chance, coarsest)


def _blobs(canvas: Canvas, chance: Chance) -> Tensor:
    """Return blobs of several sizes, each size half as many voxels across as the one before."""
    spacing = extent_mm(canvas.grid) / chance.uniform(4.0, 8.0)
    falloff = chance.uniform(0.5, 1.0)
    blobs = sparse_field(canvas.grid, spacing, chance.uniform(0.1, 0.5), chance)
    weight, total = 1.0, 1.0
    while spacing > 2.5 * canvas.edge_mm:
        spacing, weight = spacing / 2, weight * falloff
        blobs.add_(sparse_field(canvas.grid, spacing, chance.log_uniform(0.01, 0.3), chance), alpha=weight)
        total += weight**2
    return blobs.div_(total**0.5)


def _lay_other_grain(canvas: Canvas, chance: Chance) -> None:
    """Paint regions of another grain and another mean, as white beside grey matter."""
    length = extent_mm(canvas.grid) * chance.uniform(0.1, 0.35)
    border = smooth_field(canvas.grid, length, chance).add_(chance.uniform(-0.8, 0.8))
    share = inside(border, canvas.edge_mm * 2.0 / length * chance.log_uniform(1.0, 8.0))
    other = _grain(canvas, chance).mul_(chance.log_normal(0.02, 0.7)).add_(chance.signed(0.04, 0.7))
    canvas.susceptibility.lerp_(other, share)
    canvas.signal.add_(share, alpha=chance.uniform(-0.3, 0.3))
