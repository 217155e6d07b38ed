"""Weights are loaded by their digest only; what is missing, altered or unknown is refused with the remedy."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from pipeline.errors import UnusableInput, WeightsAltered, WeightsMissing, WeightsUnknown
from pipeline.networks.lodestone_net import N_CHANNELS
from pipeline.networks.table import NETWORKS
from pipeline.networks.weights import (
    FOLDER,
    is_trained,
    listed_weights,
    load_network,
    model_card,
    store_weights,
    weights_digest,
)

NAME = "lpcnn"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(11)
    store_weights(NAME, NETWORKS[NAME].make().state_dict(), tmp_path)
    return tmp_path


def test_what_was_stored_is_loaded_in_single_precision_ready_for_inference(folder: Path) -> None:
    torch.manual_seed(11)
    original = NETWORKS[NAME].make().state_dict()
    network = load_network(NAME, folder=folder)
    assert not network.training
    for key, value in network.state_dict().items():
        assert value.dtype == original[key].dtype
        assert torch.allclose(value.float(), original[key].float(), rtol=1e-3, atol=1e-6), key
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_kernels_are_stored_in_half_and_running_variances_in_single_precision(folder: Path) -> None:
    state = NETWORKS[NAME].make().state_dict()
    tiny = {key: value * 0 + 3e-9 if key.endswith("running_var") else value for key, value in state.items()}
    store_weights(NAME, tiny, folder)
    with safe_open(folder / f"{NAME}.safetensors", "pt") as stored:
        kinds = {key: stored.get_tensor(key).dtype for key in stored.keys()}  # noqa: SIM118 - no mapping
    assert kinds["proximal.0.weight"] == torch.float16
    assert kinds["proximal.2.first_norm.running_var"] == torch.float32
    loaded = load_network(NAME, folder=folder).state_dict()["proximal.2.first_norm.running_var"]
    assert torch.equal(loaded, torch.full_like(loaded, 3e-9))


def test_loading_draws_nothing_from_the_global_generator(folder: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    load_network(NAME, folder=folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_network_inverts_as_the_stored_one(folder: Path) -> None:
    torch.manual_seed(2)
    network = NETWORKS["lodestone_net"].make()
    torch.nn.init.normal_(network.get_parameter("last.weight"), std=0.1)
    store_weights("lodestone_net", network.state_dict(), folder)
    channels = torch.randn(1, N_CHANNELS, 8, 8, 8)
    with torch.no_grad():
        expected = network(channels)
        found = load_network("lodestone_net", folder=folder)(channels)
    assert float((found - expected).norm() / expected.norm()) < 2e-3


def test_one_changed_byte_is_refused_with_the_command_that_restores_the_file(folder: Path) -> None:
    path = folder / f"{NAME}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsAltered, match=r"was altered and is not used.*git checkout -- .*lpcnn\.safetensors"):
        load_network(NAME, folder=folder)


def test_a_missing_file_is_refused_with_the_command_that_restores_it(folder: Path) -> None:
    (folder / f"{NAME}.safetensors").unlink()
    with pytest.raises(WeightsMissing, match=r"git checkout -- .*lpcnn\.safetensors \(or train them: lodestone train"):
        load_network(NAME, folder=folder)
    assert not is_trained(NAME, folder)


def test_a_network_that_nobody_trained_is_refused_with_the_command_that_trains_it(folder: Path) -> None:
    with pytest.raises(WeightsUnknown, match="lodestone train xqsm --export"):
        load_network("xqsm", folder=folder)
    assert not is_trained("xqsm", folder)


def test_a_network_of_no_table_is_refused_with_the_names_there_are(folder: Path) -> None:
    for refused in (lambda: load_network("gan", folder=folder), lambda: store_weights("gan", {}, folder)):
        with pytest.raises(WeightsUnknown, match="no network gan; there are deepqsm, "):
            refused()


def test_a_file_that_is_not_listed_is_never_loaded(folder: Path) -> None:
    (folder / "xqsm.safetensors").write_bytes((folder / f"{NAME}.safetensors").read_bytes())
    with pytest.raises(WeightsUnknown):
        load_network("xqsm", folder=folder)


def test_listed_weights_of_another_architecture_are_refused(folder: Path) -> None:
    content = (folder / f"{NAME}.safetensors").read_bytes()
    (folder / "xqsm.safetensors").write_bytes(content)
    with (folder / "digests.toml").open("a") as digests:
        digests.write(f'\n[xqsm]\nsha256 = "{hashlib.sha256(content).hexdigest()}"\n')
    with pytest.raises(WeightsAltered, match="do not fit the network xqsm"):
        load_network("xqsm", folder=folder)


@pytest.mark.parametrize("text", ["[lpcnn", "lpcnn = 3\n", "[lpcnn]\nother = 1\n"])
def test_a_list_that_cannot_be_read_is_refused_with_the_command_that_restores_it(folder: Path, text: str) -> None:
    (folder / "digests.toml").write_text(text)
    with pytest.raises(WeightsAltered, match=r"git checkout -- .*digests\.toml"):
        load_network(NAME, folder=folder)


def test_storing_a_second_network_keeps_the_first(folder: Path) -> None:
    before = weights_digest(NAME, folder)
    store_weights("kqsm", NETWORKS["kqsm"].make().state_dict(), folder)
    assert sorted(listed_weights(folder)) == ["kqsm", NAME]
    assert weights_digest(NAME, folder) == before
    assert is_trained("kqsm", folder)
    assert not list(folder.glob("*.part"))


def test_values_that_half_precision_cannot_hold_are_refused(folder: Path) -> None:
    state = NETWORKS[NAME].make().state_dict()
    state["proximal.0.weight"] *= 1e9
    before = (folder / f"{NAME}.safetensors").read_bytes()
    with pytest.raises(UnusableInput, match=r"not finite in half precision: proximal\.0\.weight"):
        store_weights(NAME, state, folder)
    assert (folder / f"{NAME}.safetensors").read_bytes() == before


def test_more_than_sixteen_megabytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnusableInput, match="Train the narrowed variant"):
        store_weights("qsmnet", {"down.0.weight": torch.zeros(9_000_000, 1)}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_file_says_which_network_it_is(folder: Path) -> None:
    content = (folder / f"{NAME}.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert header["__metadata__"] == {"network": NAME}


def test_the_weights_of_this_repository_are_whole_and_have_cards() -> None:
    listed = listed_weights()
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == set(listed)
    for name, stored in listed.items():
        content = stored.file.read_bytes()
        assert hashlib.sha256(content).hexdigest() == stored.sha256
        assert len(content) <= 16e6
        assert model_card(name).is_file()
        load_network(name)
