"""A new site's settings say what was asked, can be read back, and are never overwritten by chance."""

from pathlib import Path

import pytest

from node.errors import InvalidSettings
from node.settings import load_settings
from node.site import parse_archive, write_site


def test_a_written_site_reads_back_as_it_was_asked(tmp_path: Path) -> None:
    write_site(
        tmp_path / "site",
        "QSM",
        port=11113,
        archives=("ORTHANC@10.0.0.6:4242", "OTHER@[::1]:104"),
        allowed=("SCANNER", "SCANNER", "CT 2"),
    )

    settings = load_settings(tmp_path / "site" / "node.toml")

    assert (settings.node.ae_title, settings.node.port) == ("QSM", 11113)
    assert [caller.ae_title for caller in settings.allow] == ["SCANNER", "CT 2"]
    assert [(peer.name, peer.host, peer.port) for peer in settings.peers] == [
        ("ORTHANC", "10.0.0.6", 4242),
        ("OTHER", "::1", 104),
    ]
    assert settings.rules[0].destinations == ("ORTHANC", "OTHER")
    assert settings.rules[0].when == {}


def test_every_default_in_the_template_is_the_programs_default(tmp_path: Path) -> None:
    written = write_site(tmp_path).model_dump()
    defaults = type(load_settings(tmp_path / "node.toml"))().model_dump()

    del written["rules"], defaults["rules"]
    assert written == defaults


def test_two_archives_of_one_title_get_names_of_their_own(tmp_path: Path) -> None:
    settings = write_site(tmp_path, archives=("PACS@a:104", "PACS@b:104"))

    assert [peer.name for peer in settings.peers] == ["PACS-1", "PACS-2"]
    assert settings.rules[0].destinations == ("PACS-1", "PACS-2")


def test_a_site_that_is_there_is_kept_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    write_site(tmp_path, "FIRST")

    with pytest.raises(InvalidSettings, match="--force"):
        write_site(tmp_path, "SECOND")
    assert load_settings(tmp_path / "node.toml").node.ae_title == "FIRST"
    assert write_site(tmp_path, "SECOND", replace=True).node.ae_title == "SECOND"


def test_a_refused_site_leaves_no_file_behind(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings):
        write_site(tmp_path, "AN AE TITLE THAT IS TOO LONG")

    assert not (tmp_path / "node.toml").exists()


@pytest.mark.parametrize("text", ["PACS", "PACS@host", "PACS@host:0", "@host:104", "PACS@:104", "PACS@host:x"])
def test_an_archive_in_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidSettings, match="ORTHANC@127"):
        parse_archive(text)


def test_names_of_regions_reach_the_settings(tmp_path: Path) -> None:
    settings = write_site(tmp_path, label_map="regions.nii.gz", label_names={2: 'putamen "left"', 1: "vein"})

    assert settings.regions.label_names == {1: "vein", 2: 'putamen "left"'}
    assert settings.label_map == tmp_path / "regions.nii.gz"
