"""One tiny scan with known truth, shared by the tests of the benches, and one thread for volumes as small."""

from collections.abc import Iterator

import pytest
import torch

from pipeline.simulation.scanner import Protocol
from pipeline.studies.cases import ECHO_TIMES_S, Case, make_case

TINY = Protocol((32, 42, 34), (5.0, 5.0, 5.0), ECHO_TIMES_S, snr=80.0, finest_mm=2.5)


@pytest.fixture(scope="session")
def tiny_case() -> Case:
    return make_case("textured", 3, "tiny", TINY)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
