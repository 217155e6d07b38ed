"""`lodestone commission` sends the kit to a real peer, tells what it took, and ends with the right exit code."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pydicom
import pytest

from dicom_io.network.contexts import storage_contexts
from dicom_io.network.peers import Caller
from dicom_io.network.storage_scp import IncomingInstance, ScpSettings, StorageScp
from node.cli import main
from tests.waiting import free_port

MR, PDF = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.104.1"
DAY = ("--day", "2026-11-21")


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["lodestone", "commission", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


class Archive:
    """A Storage SCP that takes some SOP classes and remembers what it was sent."""

    def __init__(self, *classes: str) -> None:
        self.received: list[IncomingInstance] = []
        self._scp = StorageScp(
            ScpSettings("PACS", callers=(Caller("LODESTONE"), Caller("QA")), contexts=tuple(storage_contexts(classes))),
            on_instance=self.received.append,
            on_failure=lambda error, calling_ae, association: 0x0110,
            on_refusal=lambda kind, calling_ae, sentence: None,
            on_end=lambda calling_ae, association: None,
        )
        self.port = self._scp.start()
        self.stop = self._scp.stop

    @property
    def address(self) -> str:
        return f"PACS@127.0.0.1:{self.port}"


@pytest.fixture
def archive() -> Iterator[Callable[..., Archive]]:
    """Return the function that starts an archive; all are stopped at the end."""
    started: list[Archive] = []

    def start(*classes: str) -> Archive:
        started.append(Archive(*classes))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_an_archive_that_takes_images_and_pdf_only_is_enough_and_the_rest_is_told(
    archive: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pacs = archive(MR, PDF)
    assert run(monkeypatch, "--to", pacs.address, "--out", str(tmp_path), *DAY, "--json") == 0
    story = json.loads(capsys.readouterr().out)
    taken = {one["kind"]: one["n_accepted"] for one in story["objects"]}
    assert taken["susceptibility"] == taken["source"] == 12
    assert taken["summary"] == 1
    assert taken["parametric_map"] == taken["segmentation"] == taken["report"] == 0
    assert story["is_accepted"]
    assert len(pacs.received) == 25
    assert {one.calling_ae for one in pacs.received} == {"LODESTONE"}
    page = pydicom.dcmread(tmp_path / "dicom" / "summary-0001.dcm")
    assert page.EncapsulatedDocument[: page.EncapsulatedDocumentLength] == Path(story["page"]).read_bytes()


def test_an_archive_that_does_not_take_the_images_ends_with_one(
    archive: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pacs = archive(PDF)
    assert run(monkeypatch, "--to", pacs.address, "--out", str(tmp_path), *DAY) == 1
    said = capsys.readouterr()
    assert "Not taken: magnitude images, susceptibility" in said.err
    assert "instructions (PDF)" in said.out


def test_a_peer_of_the_settings_gets_the_kinds_it_is_to_get_under_the_node_s_title(
    archive: Callable[..., Archive],
    tmp_path: Path,
    node_toml: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    pacs = archive(MR, PDF)
    config = node_toml(archive_port=pacs.port)
    text = config.read_text().replace('ae_title = "ARCHIVE"', 'ae_title = "PACS"\nobjects = ["susceptibility"]')
    config.write_text(text.replace("[node]", '[node]\nae_title = "QA"', 1))
    words = ("--to", "ARCHIVE", "-c", str(config), "--out", str(tmp_path / "out"), *DAY, "--json")
    assert run(monkeypatch, *words) == 0
    story = json.loads(capsys.readouterr().out)
    assert [one["kind"] for one in story["objects"]] == ["source", "susceptibility"]
    assert {one.calling_ae for one in pacs.received} == {"QA"}
    assert Path(story["page"]).read_bytes().startswith(b"%PDF")


def test_the_same_day_makes_the_same_objects(
    archive: Callable[..., Archive], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacs = archive(MR, PDF)
    for _ in range(2):
        assert run(monkeypatch, "--to", pacs.address, "--out", str(tmp_path), *DAY, "--json") == 0
    first, second = pacs.received[:25], pacs.received[25:]
    assert [one.dataset for one in first] == [one.dataset for one in second]


def test_a_peer_that_is_away_ends_with_seventy_five(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(monkeypatch, "--to", f"PACS@127.0.0.1:{free_port()}", "--out", str(tmp_path), *DAY) == 75
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--to", "PACS@nowhere"), "write AET@HOST:PORT"),
        (("--to", "PACS", "-c", "absent.toml"), "name the settings with -c"),
    ],
)
def test_a_peer_that_cannot_be_is_said_before_anything_is_made(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    assert run(monkeypatch, *words, "--out", str(tmp_path / "out")) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_unknown_peer_is_named_with_its_nearest(
    tmp_path: Path, node_toml: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert run(monkeypatch, "--to", "ARCHIV", "-c", str(node_toml()), "--out", str(tmp_path / "out")) == 1
    assert "ARCHIVE" in capsys.readouterr().err
