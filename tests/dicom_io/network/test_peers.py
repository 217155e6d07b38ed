from pathlib import Path

import pytest

from dicom_io.network.peers import Caller, Peer, WebPeer, admits, check_ae_title, displayable_ae_title


@pytest.mark.parametrize("title", ["", "   ", "SEVENTEEN_LETTERS", "A\\B", "TAB\tTITLE", "ÄRZTE"])
def test_what_is_no_ae_title_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        check_ae_title(title)


def test_a_title_of_sixteen_characters_with_a_space_inside_is_accepted() -> None:
    check_ae_title("MR SCANNER ROOM1")


def test_nobody_is_admitted_where_nobody_is_listed() -> None:
    assert not admits([], "SCANNER", "127.0.0.1")


def test_a_caller_without_a_host_may_come_from_anywhere() -> None:
    assert admits([Caller("SCANNER")], "SCANNER", "10.1.2.3")


def test_a_caller_with_a_host_must_come_from_there() -> None:
    callers = [Caller("SCANNER", "10.1.2.3")]
    assert admits(callers, "SCANNER", "10.1.2.3")
    assert not admits(callers, "SCANNER", "10.1.2.4")


def test_a_host_may_be_a_name() -> None:
    assert admits([Caller("SCANNER", "localhost")], "SCANNER", "127.0.0.1")


def test_a_name_without_an_address_admits_nobody() -> None:
    assert not admits([Caller("SCANNER", "no-such-host.invalid")], "SCANNER", "127.0.0.1")


def test_padding_of_a_title_does_not_matter_but_letter_case_does() -> None:
    assert admits([Caller("SCANNER")], " SCANNER  ", "127.0.0.1")
    assert not admits([Caller("SCANNER")], "scanner", "127.0.0.1")


def test_a_received_title_cannot_carry_control_characters_into_a_record() -> None:
    assert displayable_ae_title("EVIL\n\x1b[31mRED") == "EVIL??[31mRED"
    assert len(displayable_ae_title("X" * 100)) == 16


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_peer_needs_a_port_that_exists(port: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 65535"):
        Peer("PACS", "ORTHANC", "127.0.0.1", port)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "pacs.example/dicom-web",
        "ftp://pacs.example/",
        "https:///dicom-web",
        "https://pacs.example:0/",
        "https://pacs.example:99999/",
        "https://pacs.example/a b",
        "https://pacs.example/\r\nHost: other",
        "https://user:password@pacs.example/",
        "https://pacs.example/?key=1",
        "https://pacs.example/#part",
        "https://päcs.example/",
    ],
)
def test_what_is_no_address_of_a_web_service_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="Peer PACS: url") as raised:
        WebPeer("PACS", url)
    assert "password@" not in str(raised.value)


def test_addresses_of_web_services_are_taken_with_and_without_port_and_path() -> None:
    for url in ("https://pacs.example", "http://10.1.2.3:8042/dicom-web/", "https://[::1]:8443/a/b"):
        assert url in str(WebPeer("PACS", url))


def test_credentials_go_over_tls_or_stay_on_the_machine() -> None:
    file = Path("token")
    with pytest.raises(ValueError, match="use https"):
        WebPeer("PACS", "http://pacs.example", token_file=file)
    for url in ("https://pacs.example", "http://127.0.0.1:8042", "http://[::1]:8042", "http://localhost"):
        assert WebPeer("PACS", url, token_file=file).has_credentials
        assert WebPeer("PACS", url, user="node", password_file=file).has_credentials
    assert not WebPeer("PACS", "http://pacs.example").has_credentials


@pytest.mark.parametrize(
    "settings",
    [
        {"user": "node"},
        {"password_file": Path("password")},
        {"user": "node", "password_file": Path("password"), "token_file": Path("token")},
        {"user": "no:de", "password_file": Path("password")},
        {"largest_request_bytes": 0},
        {"answer_within_s": 0.0},
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Peer PACS: "):
        WebPeer("PACS", "https://pacs.example", **settings)
