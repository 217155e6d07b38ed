"""One tiny scan with known truth, shared by the tests of the benches."""

import pytest

from pipeline.simulation.scanner import Protocol
from pipeline.studies.cases import ECHO_TIMES_S, Case, make_case

TINY = Protocol((32, 42, 34), (5.0, 5.0, 5.0), ECHO_TIMES_S, snr=80.0, finest_mm=2.5)


@pytest.fixture(scope="session")
def tiny_case() -> Case:
    return make_case("textured", 3, "tiny", TINY)
