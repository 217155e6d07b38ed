"""The table of networks: what each is, how it is fed, how many parameters it has, and whose it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.networks.deepqsm import DeepQsm
from pipeline.networks.inputs import Context, FieldPreparation, FieldScan, Preparation, Scaling, UnrolledPreparation
from pipeline.networks.k_qsm import KQsm, SpectrumPreparation
from pipeline.networks.lodestone_net import LodestoneNet, RefinementPreparation
from pipeline.networks.lpcnn import Lpcnn
from pipeline.networks.modl_qsm import ModlQsm
from pipeline.networks.qsmnet import qsmnet, qsmnet_narrow
from pipeline.networks.unet import unet_of_df_qsm
from pipeline.networks.xqsm import XQsm

# Root mean squares over the masks of 60 samples of the training stream, whose means are zero: the papers' own values
# are those of their own scans.
TRAINING_SCALING = Scaling(field_deviation=0.018, susceptibility_deviation=0.045)
# DeepQSM and xQSM take fields in ppm and give maps in ppm.
IN_PPM = Scaling()


@dataclass(frozen=True)
class NetworkSpec:
    """One network of the table.

    Attributes
    ----------
    name
        The word by which it is trained, evaluated and loaded.
    citation
        Whose it is.
    make
        Builds it untrained; its first values come from torch's global generator.
    preparation
        The only place where its input is made and its output read.
    n_parameters
        How many trainable values it has; a test counts them.
    count_source
        Where else the count is stated, and whether it agrees.
    published_millions
        The count that a paper states [millions]; None where none was found.
    ours
        What of it is our choice, in a phrase; empty where it is as published.
    is_unrolled
        Whether it computes with the dipole kernel and the mask itself.
    needs_start
        Whether it refines maps that another method made.
    """

    name: str
    citation: str
    make: Callable[[], nn.Module]
    preparation: Preparation
    n_parameters: int
    count_source: str
    published_millions: float | None = None
    ours: str = ""
    is_unrolled: bool = False
    needs_start: bool = False

    def prepare(self, scan: FieldScan, start: Tensor | None = None) -> tuple[Tensor, Context]:
        """Return the channels `(channel, z, y, x)` of a scan, and what `finish` needs.

        Parameters
        ----------
        scan
            Local field, mask, grid and field noise.
        start
            Maps by other methods `(map, z, y, x)` [ppm], for networks that refine them.

        Raises
        ------
        UnusableInput
            Shapes disagree, the mask is empty, or start maps are needed and missing.
        """
        return self.preparation.prepare(scan, start)

    def run(self, network: nn.Module, channels: Tensor, contexts: Sequence[Context]) -> Tensor:
        """Return the outputs `(batch, channel, z, y, x)` for a batch of channels, with the contexts of its samples.

        The network computes in its own precision, whatever that of the scan; `finish` goes back to the scan's.
        """
        precision = next(network.parameters()).dtype
        if not self.is_unrolled:
            output: Tensor = network(channels.to(precision))
            return output
        kernels = torch.stack([context.kernel for context in contexts if context.kernel is not None])
        masks = torch.stack([context.padded_mask for context in contexts if context.padded_mask is not None])
        unrolled: Tensor = network(channels.to(precision), kernels.to(precision), masks.to(precision))
        return unrolled

    def finish(self, output: Tensor, context: Context) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm] of one output `(channel, z, y, x)`, zero outside the mask."""
        return self.preparation.finish(output, context)

    def invert(self, network: nn.Module, scan: FieldScan, start: Tensor | None = None) -> Tensor:
        """Return the susceptibility `(z, y, x)` [ppm] of one scan, the whole volume at once.

        Raises
        ------
        UnusableInput
            As `prepare` does.
        """
        channels, context = self.prepare(scan, start)
        return self.finish(self.run(network, channels[None], [context])[0], context)

    @property
    def megabytes_stored(self) -> float:
        """Return about how large its weights are in half precision [10⁶ bytes]."""
        return 2e-6 * self.n_parameters


_DF_QSM = "Paluru 2025 (DF-QSM), 3D-UNet"
_YOON = "Yoon 2018, doi:10.1016/j.neuroimage.2018.06.030"
_JUNG = "Jung 2020, doi:10.1016/j.neuroimage.2020.116619"
_GAO = "Gao 2021, doi:10.1002/nbm.4461"
_HE = "He 2022, doi:10.3389/fnins.2022.837721"
_TABLE = "DF-QSM, table 5"
_CHOICES_OF_K_QSM = "orthonormal FFT, envelope, measured frequencies kept exactly, real part as the map"
_NARROWED = "a quarter of the channels, so that the weights fit into 16 MB"

NETWORKS: dict[str, NetworkSpec] = {
    spec.name: spec
    for spec in (
        NetworkSpec(
            name="lodestone_net",
            citation="this project; a network on a map and its data gradient: Adler & Öktem 2017, arXiv:1704.04058",
            make=LodestoneNet,
            preparation=RefinementPreparation(multiple=8),
            n_parameters=526_864,
            count_source="ours",
            ours="all of it",
            needs_start=True,
        ),
        NetworkSpec(
            name="deepqsm",
            citation="Bollmann 2019, doi:10.1016/j.neuroimage.2019.03.060",
            make=DeepQsm,
            preparation=FieldPreparation(16, IN_PPM),
            n_parameters=5_644_913,
            count_source="counted here; no published count known to us",
            ours="widths 16 to 256, no normalisation",
        ),
        NetworkSpec(
            name="qsmnet",
            citation=_YOON,
            make=qsmnet,
            preparation=FieldPreparation(16, TRAINING_SCALING),
            n_parameters=99_453_985,
            count_source=f"{_TABLE}; 5 888 of them belong to normalisations",
            published_millions=99.45,
        ),
        NetworkSpec(
            name="qsmnet_plus",
            citation=_JUNG,
            make=qsmnet,
            preparation=FieldPreparation(16, TRAINING_SCALING),
            n_parameters=99_453_985,
            count_source=f"{_TABLE}, as QSMnet",
            published_millions=99.45,
        ),
        NetworkSpec(
            name="qsmnet_narrow",
            citation=_YOON,
            make=qsmnet_narrow,
            preparation=FieldPreparation(16, TRAINING_SCALING),
            n_parameters=6_218_377,
            count_source="counted here; QSMnet has 99.45 million",
            ours=_NARROWED,
        ),
        NetworkSpec(
            name="qsmnet_plus_narrow",
            citation=_JUNG,
            make=qsmnet_narrow,
            preparation=FieldPreparation(16, TRAINING_SCALING),
            n_parameters=6_218_377,
            count_source="counted here; QSMnet+ has 99.45 million",
            ours=_NARROWED,
        ),
        NetworkSpec(
            name="xqsm",
            citation=_GAO,
            make=XQsm,
            preparation=FieldPreparation(8, IN_PPM),
            n_parameters=5_215_681,
            count_source=f"{_TABLE} gives 5.21, cut off after two digits",
            published_millions=5.21,
        ),
        NetworkSpec(
            name="xqsm_cropped",
            citation=_GAO,
            make=XQsm,
            preparation=FieldPreparation(8, IN_PPM),
            n_parameters=5_215_681,
            count_source=f"{_TABLE}, as xQSM",
            published_millions=5.21,
        ),
        NetworkSpec(
            name="kqsm",
            citation=_HE,
            make=KQsm,
            preparation=SpectrumPreparation(threshold=0.1),
            n_parameters=502_594,
            count_source="counted here from the paper's layers",
            ours=_CHOICES_OF_K_QSM,
        ),
        NetworkSpec(
            name="kqsm_02",
            citation=_HE,
            make=KQsm,
            preparation=SpectrumPreparation(threshold=0.2),
            n_parameters=502_594,
            count_source="counted here from the paper's layers",
            ours=_CHOICES_OF_K_QSM,
        ),
        NetworkSpec(
            name="lpcnn",
            citation="Lai 2020, doi:10.1007/978-3-030-59713-9_13",
            make=lambda: Lpcnn(TRAINING_SCALING),
            preparation=UnrolledPreparation(TRAINING_SCALING),
            n_parameters=446_337,
            count_source=f"{_TABLE} gives 0.47, but its own 1.7 MB are 0.446",
            published_millions=0.47,
            is_unrolled=True,
        ),
        NetworkSpec(
            name="modl_qsm",
            citation="Feng 2021, doi:10.1016/j.neuroimage.2021.118376",
            make=lambda: ModlQsm(TRAINING_SCALING),
            preparation=UnrolledPreparation(TRAINING_SCALING),
            n_parameters=447_235,
            count_source="counted here from the layers; no published count known to us",
            is_unrolled=True,
        ),
        NetworkSpec(
            name="unet_df",
            citation=_DF_QSM,
            make=unet_of_df_qsm,
            preparation=FieldPreparation(16, TRAINING_SCALING),
            n_parameters=5_647_857,
            count_source=f"{_TABLE} gives 5.64, cut off after two digits",
            published_millions=5.64,
        ),
    )
}
