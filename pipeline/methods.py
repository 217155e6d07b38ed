"""The methods of every step, in the order in which the steps run. Adding a method is one file and one line here."""

from pipeline.method import Method
from pipeline.susceptibility import referencing
from pipeline.susceptibility.dipole_inversion.tkd import TKD


def _by_name(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


STEPS: dict[str, dict[str, Method]] = {
    "phase_offset_removal": _by_name(),
    "masking": _by_name(),
    "phase_unwrapping": _by_name(),
    "echo_combination": _by_name(),
    "background_field_removal": _by_name(),
    "dipole_inversion": _by_name(TKD),
    "total_field_inversion": _by_name(),
    "referencing": _by_name(referencing.WHOLE_BRAIN, referencing.NONE),
    "relaxometry": _by_name(),
}
