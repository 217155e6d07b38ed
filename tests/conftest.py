"""Fixtures shared by all tests: where the real scanner files lie, and how a missing real peer is reported."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
INSTALL_HINT = "run `make peers` as root to install it"


def pytest_configure() -> None:
    # Two spinning threads on a busy machine cost several times the time of one.
    torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder of real scanner files, or skip with the sentence that says how to name it."""
    folder = Path(os.environ.get("LODESTONE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        message = f"The real scanner files are not at {folder}; set LODESTONE_DATA to the folder that holds them."
        pytest.skip(message)
    return folder


def require_program(name: str) -> str:
    """Return the path of a real peer; skip with a hint where it is missing, fail where peers are required."""
    # pynetdicom installs its own storescu and echoscu beside Python; the peer meant is DCMTK's.
    folders = [folder for folder in os.environ["PATH"].split(os.pathsep) if Path(folder) != Path(sys.executable).parent]
    path = shutil.which(name, path=os.pathsep.join([*folders, "/usr/sbin"]))
    if path:
        return path
    message = f"The real peer `{name}` is not installed: {INSTALL_HINT}."
    if os.environ.get("LODESTONE_REQUIRE_PEERS"):
        pytest.fail(message)
    return pytest.skip(message)


@pytest.fixture(scope="session")
def program():
    """Return the function that finds a real peer's program by name."""
    return require_program
