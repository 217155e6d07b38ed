"""Settings are read once, and every mistake in them is named with the nearest right word."""

from pathlib import Path

import pytest

from node.errors import InvalidSettings
from node.settings import Settings, load_settings, parse_settings

PEER = '[[peers]]\nname = "PACS"\nae_title = "ORTHANC"\nhost = "127.0.0.1"\nport = 4242\n'


def load(folder: Path, text: str) -> Settings:
    path = folder / "node.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load(folder, text)
    return str(caught.value)


def test_an_empty_file_is_a_node_that_admits_nobody(tmp_path: Path) -> None:
    settings = load(tmp_path, "")

    assert settings.allow == ()
    assert settings.node.host == "127.0.0.1"
    assert settings.node.require_called_ae_title


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("[node]\nprot = 1", "prot", "port"),
        ("[nodes]\nport = 1", "nodes", "node"),
        ("[completeness]\nquiet_time = 1", "quiet_time", "quiet_time_s"),
        (PEER.replace("host", "hots"), "hots", "host"),
        ('[[rules]]\nname = "a"\n[rules.when]\nEchoTime = { at_leest = 3 }', "at_leest", "at_least"),
        ('[[rules]]\nname = "a"\n[rules.when]\nEchoTme = { at_least = 3 }', "EchoTme", "EchoTime"),
        (PEER + '[[rules]]\nname = "a"\ndestinations = ["PACZ"]', "PACZ", "PACS"),
    ],
)
def test_a_misspelt_word_is_refused_with_the_nearest_right_one(
    tmp_path: Path, text: str, wrong: str, right: str
) -> None:
    sentence = refusal(tmp_path, text)

    assert f"'{wrong}'" in sentence
    assert f"did you mean '{right}'?" in sentence
    assert "node.toml" in sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[node]\nae_title = "MORE THAN SIXTEEN LETTERS"', "no AE title"),
        ("[node]\nport = 70000", "node.port"),
        ('[mapping]\ndevice = "tpu"', "mapping.device"),
        (PEER + PEER, "two peers are called 'PACS'"),
        ('[[rules]]\nname = "a"\n[rules.when]\nEchoTime = {}', "needs one of equals"),
        ('[[rules]]\nname = "a"\n[rules.when]\nProtocolName = { matches = "*" }', "no regular expression"),
        ("[node]\nport = ", "is not TOML"),
    ],
)
def test_an_impossible_value_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    sentence = refusal(tmp_path, "[node]\nprot = 1\nport = 70000")

    assert "prot" in sentence
    assert "node.port" in sentence


def test_an_absent_file_is_refused_with_the_command_that_writes_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="lodestone init"):
        load_settings(tmp_path / "node.toml")


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    settings = load(tmp_path, '[node]\ndirectory = "state"\n[regions]\nlabel_map = "labels.nii.gz"')

    assert settings.directory == tmp_path / "state"
    assert settings.database_url == f"sqlite:///{tmp_path}/state/lodestone.db"
    assert settings.label_map == tmp_path / "labels.nii.gz"


def test_a_server_database_is_taken_as_it_stands(tmp_path: Path) -> None:
    url = "postgresql://lodestone@db/lodestone"

    assert load(tmp_path, f'[database]\nurl = "{url}"').database_url == url


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTONE_NODE__PORT", "4711")

    settings = load(tmp_path, '[node]\nport = 1\nae_title = "KEPT"')

    assert settings.node.port == 4711
    assert settings.node.ae_title == "KEPT"


def test_a_misspelt_variable_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LODESTONE_NODE__PROT", "4711")

    assert "did you mean 'port'?" in refusal(tmp_path, "")


def test_an_unknown_peer_is_refused_by_name() -> None:
    with pytest.raises(InvalidSettings, match=r"no .*peers.* is called 'PACS'"):
        parse_settings({}).peer("PACS")


WEB = '[[peers]]\nname = "WEB"\nprotocol = "dicomweb"\nurl = "https://pacs.example/dicom-web/"\n'


def test_a_peer_gets_all_kinds_of_objects_unless_it_names_some(tmp_path: Path) -> None:
    settings = load(tmp_path, PEER + WEB + 'objects = ["susceptibility", "report"]\n')

    assert settings.kinds_for("PACS") is None
    assert settings.kinds_for("WEB") == {"susceptibility", "report"}
    assert settings.kinds_for("GONE") is None
    assert (settings.peer("PACS").is_web, settings.peer("WEB").is_web) == (False, True)
    assert settings.peer("WEB").url == "https://pacs.example/dicom-web"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (PEER + 'objects = ["reports"]', "did you mean 'report'?"),
        (PEER.replace("host", "# host"), "needs host"),
        (PEER.replace("port", "# port"), "needs port"),
        (PEER.replace("127.0.0.1", ""), "needs host"),
        (PEER + 'url = "https://pacs.example"', "has no url"),
        (PEER + 'commitment = "always"', "'auto', 'required' or 'off'"),
        (PEER + "commit_within_min = 0", "commit_within_min"),
        (WEB.replace("url", "# url"), "needs url"),
        (WEB + 'host = "pacs.example"', "has no host"),
        (WEB + 'commitment = "required"', "no storage commitment"),
        (WEB + 'password_file = "secret"', "go together"),
        (WEB + 'user = "a"\npassword_file = "b"\ntoken_file = "c"', "not both"),
        (WEB.replace("https", "http") + 'token_file = "c"', "readable on the network"),
        (WEB.replace("https", "gopher"), "url must read"),
        (WEB.replace("pacs.example", "me:word@pacs.example"), "neither user, password"),
        ("[delivery]\nmost_resends = -1", "most_resends"),
    ],
)
def test_a_peer_that_cannot_be_spoken_to_as_described_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert told in refusal(tmp_path, text)


@pytest.mark.parametrize("scheme", ["https", "gopher"])
def test_a_refused_url_does_not_repeat_the_password_in_it(tmp_path: Path, scheme: str) -> None:
    with_password = WEB.replace("https", scheme).replace("pacs.example", "me:hidden@pacs.example")

    assert "hidden" not in refusal(tmp_path, with_password)


def test_a_kind_that_only_one_destination_asks_for_is_made_too(tmp_path: Path) -> None:
    some = '[output]\nobjects = ["susceptibility", "report"]\n'
    settings = load(tmp_path, some + PEER + WEB + 'objects = ["susceptibility", "parametric_map"]\n')
    assert settings.kinds_to_make(["PACS"]) == ("susceptibility", "report")
    assert settings.kinds_to_make(["PACS", "WEB"]) == ("susceptibility", "parametric_map", "report")
