"""The methods of every step, in the order in which the steps run. Adding a method is one file and one line here."""

from collections.abc import Mapping

from pipeline.method import Method
from pipeline.reconstruction.coil_combination import mdi as coil_mdi
from pipeline.reconstruction.coil_combination import offset_removal
from pipeline.reconstruction.coil_combination.adaptive import ADAPTIVE
from pipeline.reconstruction.coil_combination.virtual_reference import VIRTUAL_REFERENCE
from pipeline.reconstruction.reconstruction import Reconstruction
from pipeline.reconstruction.super_resolution import SUPER_RESOLUTION, Refinement
from pipeline.reconstruction.table import RECONSTRUCTIONS
from pipeline.susceptibility import bipolar_correction, phase_offset_removal, referencing
from pipeline.susceptibility.background_field_removal.ismv import ISMV
from pipeline.susceptibility.background_field_removal.lbv import LBV
from pipeline.susceptibility.background_field_removal.pdf import PDF
from pipeline.susceptibility.background_field_removal.resharp import RESHARP, V_RESHARP
from pipeline.susceptibility.background_field_removal.robust import ROBUST as ROBUST_REMOVAL
from pipeline.susceptibility.background_field_removal.v_sharp import SHARP, V_SHARP
from pipeline.susceptibility.dipole_inversion.cosmos import COSMOS
from pipeline.susceptibility.dipole_inversion.dynamic_streaking import DYNAMIC_STREAKING
from pipeline.susceptibility.dipole_inversion.fansi import FANSI_TV
from pipeline.susceptibility.dipole_inversion.fansi_tgv import FANSI_TGV
from pipeline.susceptibility.dipole_inversion.hd_qsm import HD_QSM
from pipeline.susceptibility.dipole_inversion.ilsqr import ILSQR
from pipeline.susceptibility.dipole_inversion.l2 import L2
from pipeline.susceptibility.dipole_inversion.learned.lodestone_map import LODESTONE_NET
from pipeline.susceptibility.dipole_inversion.learned.network_methods import NETWORK_METHODS
from pipeline.susceptibility.dipole_inversion.ln_qsm import LN_QSM
from pipeline.susceptibility.dipole_inversion.medi import MEDI, MEDI_0
from pipeline.susceptibility.dipole_inversion.mr_tkd import MR_TKD
from pipeline.susceptibility.dipole_inversion.ndi import NDI
from pipeline.susceptibility.dipole_inversion.rts import RTS
from pipeline.susceptibility.dipole_inversion.star import STAR
from pipeline.susceptibility.dipole_inversion.tgv import TGV
from pipeline.susceptibility.dipole_inversion.tkd import TKD
from pipeline.susceptibility.dipole_inversion.total_field import ROBUST
from pipeline.susceptibility.dipole_inversion.total_variation import TOTAL_VARIATION
from pipeline.susceptibility.dipole_inversion.weighted_tv import WEIGHTED_TV
from pipeline.susceptibility.echo_combination import WEIGHTED_AVERAGE, WEIGHTED_LINEAR_FIT
from pipeline.susceptibility.masking import MAGNITUDE, PHASE_QUALITY
from pipeline.susceptibility.masking_by_phase import PHASE_ONLY, TWO_PASS
from pipeline.susceptibility.multi_dimensional_integration import MDI
from pipeline.susceptibility.nonlinear_fit import NONLINEAR_FIT
from pipeline.susceptibility.phase_unwrapping.best_path import BEST_PATH
from pipeline.susceptibility.phase_unwrapping.laplacian import LAPLACIAN
from pipeline.susceptibility.phase_unwrapping.romeo import ROMEO
from pipeline.susceptibility.phase_unwrapping.spun import SPUN
from pipeline.susceptibility.relaxometry import LOG_LINEAR
from pipeline.susceptibility.relaxometry_arlo import ARLO
from pipeline.susceptibility.relaxometry_nonlinear import NONLINEAR_DECAY
from pipeline.susceptibility.source_separation import CHI_SEPARATION, VOXELWISE
from pipeline.susceptibility.weighting import SMWI, SWI, TRUE_SWI


def _by_name(*methods: Method) -> dict[str, Method]:
    return {method.name: method for method in methods}


STEPS: dict[str, dict[str, Method]] = {
    "coil_combination": _by_name(
        offset_removal.MCPC_3D_S,
        offset_removal.ASPIRE,
        ADAPTIVE,
        VIRTUAL_REFERENCE,
        coil_mdi.MDI,
    ),
    "bipolar_correction": _by_name(
        bipolar_correction.LINEAR,
        bipolar_correction.NONE,
    ),
    "phase_offset_removal": _by_name(
        phase_offset_removal.MCPC_3D_S,
        phase_offset_removal.ASPIRE,
        phase_offset_removal.NONE,
    ),
    "masking": _by_name(
        PHASE_QUALITY,
        MAGNITUDE,
        PHASE_ONLY,
        TWO_PASS,
    ),
    "phase_unwrapping": _by_name(
        ROMEO,
        LAPLACIAN,
        BEST_PATH,
        SPUN,
    ),
    "echo_combination": _by_name(
        WEIGHTED_LINEAR_FIT,
        WEIGHTED_AVERAGE,
        NONLINEAR_FIT,
        MDI,
    ),
    "relaxometry": _by_name(
        LOG_LINEAR,
        ARLO,
        NONLINEAR_DECAY,
    ),
    "background_field_removal": _by_name(
        V_SHARP,
        SHARP,
        RESHARP,
        V_RESHARP,
        PDF,
        LBV,
        ISMV,
        ROBUST_REMOVAL,
    ),
    "dipole_inversion": _by_name(
        WEIGHTED_TV,
        TOTAL_VARIATION,
        TKD,
        L2,
        MR_TKD,
        RTS,
        FANSI_TV,
        FANSI_TGV,
        DYNAMIC_STREAKING,
        ILSQR,
        STAR,
        MEDI,
        MEDI_0,
        NDI,
        HD_QSM,
        LODESTONE_NET,
        *NETWORK_METHODS,
    ),
    "total_field_inversion": _by_name(
        ROBUST,
        LN_QSM,
        TGV,
    ),
    "multi_orientation_inversion": _by_name(
        COSMOS,
    ),
    "referencing": _by_name(
        referencing.WHOLE_BRAIN,
        referencing.CSF,
        referencing.REGION,
        referencing.NONE,
    ),
    "source_separation": _by_name(
        CHI_SEPARATION,
        VOXELWISE,
    ),
    "weighting": _by_name(
        SWI,
        SMWI,
        TRUE_SWI,
    ),
}

RECONSTRUCTION, FINER = "reconstruction", "super_resolution"
IMAGE_STEPS: Mapping[str, Mapping[str, Reconstruction | Refinement]] = {
    RECONSTRUCTION: RECONSTRUCTIONS,
    FINER: {SUPER_RESOLUTION.name: SUPER_RESOLUTION},
}
"""What makes images of k-space, before the steps above; a scan that came as images does not ask for it."""
