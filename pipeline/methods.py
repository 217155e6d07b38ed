"""The methods of every step, in the order in which the steps run. Adding a method is one file and one line here."""

from pipeline.method import Method
from pipeline.susceptibility import phase_offset_removal, referencing
from pipeline.susceptibility.background_field_removal.v_sharp import V_SHARP
from pipeline.susceptibility.dipole_inversion.tkd import TKD
from pipeline.susceptibility.dipole_inversion.total_field import ROBUST
from pipeline.susceptibility.dipole_inversion.total_variation import TOTAL_VARIATION
from pipeline.susceptibility.echo_combination import WEIGHTED_AVERAGE, WEIGHTED_LINEAR_FIT
from pipeline.susceptibility.masking import PHASE_QUALITY
from pipeline.susceptibility.phase_unwrapping.laplacian import LAPLACIAN
from pipeline.susceptibility.phase_unwrapping.romeo import ROMEO
from pipeline.susceptibility.relaxometry import LOG_LINEAR


def _by_name(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


STEPS: dict[str, dict[str, Method]] = {
    "phase_offset_removal": _by_name(
        phase_offset_removal.MCPC_3D_S,
        phase_offset_removal.ASPIRE,
        phase_offset_removal.NONE,
    ),
    "masking": _by_name(
        PHASE_QUALITY,
    ),
    "phase_unwrapping": _by_name(
        ROMEO,
        LAPLACIAN,
    ),
    "echo_combination": _by_name(
        WEIGHTED_LINEAR_FIT,
        WEIGHTED_AVERAGE,
    ),
    "relaxometry": _by_name(
        LOG_LINEAR,
    ),
    "background_field_removal": _by_name(
        V_SHARP,
    ),
    "dipole_inversion": _by_name(
        TOTAL_VARIATION,
        TKD,
    ),
    "total_field_inversion": _by_name(
        ROBUST,
    ),
    "referencing": _by_name(
        referencing.WHOLE_BRAIN,
        referencing.NONE,
    ),
}
