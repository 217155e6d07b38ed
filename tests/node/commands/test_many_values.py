"""Options with several values are understood in every way in which people write them."""

import pytest

from node.commands.many_values import spread

WANTED = ["--echo-times-s", "0.004", "--echo-times-s", "0.008"]


@pytest.mark.parametrize(
    "line",
    [
        "--echo-times-s 0.004 0.008",
        "--echo-times-s 0.004,0.008",
        "--echo-times-s 0.004, 0.008",
        "--echo-times-s=0.004,0.008",
        "--echo-times-s=0.004 0.008",
        "--echo-times-s 0.004 --echo-times-s 0.008",
    ],
)
def test_echo_times_can_stand_in_a_row_behind_commas_or_be_repeated(line: str) -> None:
    assert spread(line.split()) == WANTED


def test_a_folder_behind_numbers_is_no_number() -> None:
    assert spread(["--echo-times-s", "0.004", "0.008", "scans", "--json"]) == [*WANTED, "scans", "--json"]


def test_files_end_at_the_next_option() -> None:
    words = ["--phase", "a,1.nii", "b.nii", "--b0-tesla", "7", "--magnitude", "m.nii"]

    assert spread(words) == [
        *["--phase", "a,1.nii", "--phase", "b.nii"],
        *["--b0-tesla", "7", "--magnitude", "m.nii"],
    ]


@pytest.mark.parametrize("line", ["--echo-times-s", "--echo-times-s --json", "--phase --json"])
def test_an_option_without_a_value_stays_for_the_parser_to_complain(line: str) -> None:
    assert spread(line.split()) == line.split()
