"""Where the total-field inversion lets the susceptibility jump."""

import torch

from pipeline.operators.padding import frame_around
from pipeline.susceptibility.dipole_inversion.total_field_grids import fine_problem
from tests.pipeline.susceptibility.dipole_inversion.heads import small_head


def test_an_edge_of_the_magnitude_frees_the_susceptibility_only_where_the_field_is_known() -> None:
    head = small_head((24, 26, 28))
    frame = frame_around(head.mask, head.grid, 4, multiple=2)
    known = torch.full(head.grid.shape, 1e-3)
    z, y, x = (size // 2 for size in head.grid.shape)
    magnitude = torch.full(head.grid.shape, 100.0)
    magnitude[z - 2 : z + 3, y - 2 : y + 3, x - 2 : x + 3] = 10.0
    noise = known.clone()
    noise[z - 4 : z + 5, y - 4 : y + 5, x + 1 : x + 5] *= 10
    free = {}
    for name, deviation in (("known", known), ("doubtful", noise)):
        problem = fine_problem(
            frame,
            torch.zeros(head.grid.shape),
            head.mask,
            magnitude,
            deviation,
            edge_fraction=0.02,
            rim_stiffness=3.0,
            outside_scale=10.0,
        )
        framed = torch.ones(problem.grid.shape)
        framed[problem.window] = problem.stiffness
        free[name] = frame.restore(framed) == 0
    beside = (slice(z - 1, z + 2), slice(y - 1, y + 2))
    assert free["known"][(*beside, x + 2)].all()
    assert free["known"][(*beside, x - 3)].all()
    assert not free["doubtful"][(*beside, x + 2)].any()
    assert free["doubtful"][(*beside, x - 3)].all()
