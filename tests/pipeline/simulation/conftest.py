"""One head and one small scan of it, shared by the tests of the simulation."""

import pytest

from pipeline.simulation.phantom import Head, adult_head
from pipeline.simulation.scanner import SMALL, SimulatedScan, acquire


@pytest.fixture(scope="session")
def head() -> Head:
    return adult_head()


@pytest.fixture(scope="session")
def scan(head: Head) -> SimulatedScan:
    return acquire(head, SMALL)
