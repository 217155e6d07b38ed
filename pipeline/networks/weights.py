"""Trained weights: found by name, checked by SHA-256, loaded in single precision; stored in half precision."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_of
from safetensors.torch import save as bytes_of
from torch import Tensor, nn

from pipeline.errors import UnusableInput, WeightsAltered, WeightsMissing, WeightsUnknown
from pipeline.networks.reconstruction_table import RECONSTRUCTION_NETWORKS
from pipeline.networks.table import NETWORKS

FOLDER = Path(__file__).with_name("weights")
MOST_MEGABYTES = 16.0
_DIGESTS = "digests.toml"
_HEADING = """\
# SHA-256 of the trained weights in this folder, one table per network of pipeline/networks/*table.py.
# Written by `lodestone train NETWORK --export`; only files listed here are ever loaded.
"""


@dataclass(frozen=True)
class StoredWeights:
    """Where the weights of one network lie and what their file must hash to."""

    name: str
    file: Path
    sha256: str


def listed_weights(folder: Path = FOLDER) -> dict[str, StoredWeights]:
    """Return the weights that a folder's `digests.toml` lists, by network.

    Raises
    ------
    WeightsAltered
        The list cannot be read.
    """
    path = folder / _DIGESTS
    if not path.is_file():
        return {}
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: StoredWeights(name, folder / f"{name}.safetensors", entries[name]["sha256"]) for name in entries}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise WeightsAltered(
            f"The list of weights {path} cannot be read ({error}). Restore it: git checkout -- {_in_repository(path)}"
        ) from error


def is_trained(name: str, folder: Path = FOLDER) -> bool:
    """Say whether trained weights of a network are listed and their file is there; the file is not read."""
    stored = listed_weights(folder).get(name)
    return stored is not None and stored.file.is_file()


def model_card(name: str, folder: Path = FOLDER) -> Path:
    """Return where the card of a network's weights lies: what they were trained on, for how long, and their limits."""
    return folder / f"{name}.md"


def weights_digest(name: str, folder: Path = FOLDER) -> str:
    """Return the SHA-256 that the weights of a network must have, for the record of a run.

    Raises
    ------
    WeightsUnknown
        There is no such network, or no weights are listed for it.
    """
    stored = listed_weights(folder).get(name)
    if stored is None:
        raise WeightsUnknown(_why_unknown(name))
    return stored.sha256


def verified_digest(name: str, folder: Path = FOLDER) -> str:
    """Return the SHA-256 of a network's weights after reading their file, so that a run can refuse before any work.

    Raises
    ------
    WeightsUnknown
        There is no such network, or no weights are listed for it.
    WeightsMissing
        The listed file is gone.
    WeightsAltered
        The file has another digest.
    """
    _unaltered(name, folder)
    return weights_digest(name, folder)


def load_network(name: str, *, device: torch.device | str = "cpu", folder: Path = FOLDER) -> nn.Module:
    """Return a trained network in single precision, ready for inference.

    The file is read once; what is hashed is what is loaded.

    Parameters
    ----------
    name
        A network of the table.
    device
        Where its values shall be.
    folder
        The folder of the weights and their `digests.toml`.

    Raises
    ------
    WeightsUnknown
        There is no such network, or no weights are listed for it.
    WeightsMissing
        The listed file is gone.
    WeightsAltered
        The file has another digest, or holds other values than the network has.
    """
    content = _unaltered(name, folder)
    # The first values are drawn and thrown away; torch's global generator stays as it was.
    with torch.random.fork_rng(devices=[]):
        network = untrained(name)
    try:
        state = tensors_of(content)
        network.load_state_dict({key: _widened(value) for key, value in state.items()})
    except (SafetensorError, RuntimeError) as error:
        path = folder / f"{name}.safetensors"
        raise WeightsAltered(
            f"The weights {path} do not fit the network {name} of this version. {_how_to_restore(name, path)}"
        ) from error
    return network.to(device).eval().requires_grad_(False)


def store_weights(name: str, state: Mapping[str, Tensor], folder: Path = FOLDER) -> StoredWeights:
    """Write the weights of a network in half precision, and list their digest.

    Kernels are halved; biases, and means and variances of normalisations, which may be far below what half precision
    holds, are few and kept in single precision.

    Parameters
    ----------
    name
        A network of the table.
    state
        Its `state_dict`.
    folder
        Where `NAME.safetensors` and `digests.toml` are written; other networks' lines stay as they are.

    Raises
    ------
    WeightsUnknown
        There is no such network.
    UnusableInput
        A value is not finite in half precision, or the file would be larger than 16 MB.
    """
    if name not in _names():
        raise WeightsUnknown(_why_unknown(name))
    narrowed = {key: _narrowed(value) for key, value in state.items()}
    lost = [key for key, value in narrowed.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if lost:
        raise UnusableInput(f"The weights of {name} are not finite in half precision: {', '.join(lost[:3])}.")
    content = bytes_of(narrowed, metadata={"network": name})
    if len(content) > MOST_MEGABYTES * 1e6:
        raise UnusableInput(
            f"The weights of {name} take {len(content) / 1e6:.0f} MB; at most {MOST_MEGABYTES:.0f} MB can be kept. "
            "Train the narrowed variant."
        )
    digests = {stored.name: stored.sha256 for stored in listed_weights(folder).values()}
    digests[name] = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    stored = StoredWeights(name, folder / f"{name}.safetensors", digests[name])
    _replace(stored.file, content)
    lines = [f'\n[{entry}]\nsha256 = "{digests[entry]}"\n' for entry in sorted(digests)]
    _replace(folder / _DIGESTS, (_HEADING + "".join(lines)).encode())
    return stored


def untrained(name: str) -> nn.Module:
    """Return a network of either table as it is before any training."""
    spec = RECONSTRUCTION_NETWORKS.get(name)
    return NETWORKS[name].make() if spec is None else spec.make()


def _names() -> set[str]:
    return NETWORKS.keys() | RECONSTRUCTION_NETWORKS.keys()


def _unaltered(name: str, folder: Path) -> bytes:
    """Return what a network's file holds, read once: what is hashed is what is loaded."""
    digest = weights_digest(name, folder)
    path = folder / f"{name}.safetensors"
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsMissing(f"The weights {path} are missing. {_how_to_restore(name, path)}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise WeightsAltered(
            f"The weights {path} have SHA-256 {found[:12]}…, but {digest[:12]}… is listed: the file was altered and is "
            f"not used. {_how_to_restore(name, path)}"
        )
    return content


def _narrowed(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.half() if value.is_floating_point() and value.ndim > 1 else value


def _widened(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _replace(path: Path, content: bytes) -> None:
    whole = path.with_name(path.name + ".part")
    whole.write_bytes(content)
    whole.replace(path)


def _in_repository(path: Path) -> str:
    return f"pipeline/networks/weights/{path.name}" if path.parent == FOLDER else str(path)


def _how_to_restore(name: str, path: Path) -> str:
    return f"Restore them: git checkout -- {_in_repository(path)} (or train them: lodestone train {name} --export)"


def _why_unknown(name: str) -> str:
    if name in _names():
        return f"No trained weights of {name} are listed. Train it: lodestone train {name} --export"
    return f"There is no network {name}; there are {', '.join(sorted(_names()))}."
