import pytest

from dicom_io.network.peers import Caller, Peer, admits, check_ae_title, displayable_ae_title


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
