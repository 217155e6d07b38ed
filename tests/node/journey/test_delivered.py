"""Pauses between attempts grow to a limit; what a peer holds is not sent again."""

import pytest

from node.journey.delivered import pause_before
from node.settings import DeliverySection

LADDER = DeliverySection(first_retry_s=5, backoff=2, longest_retry_s=900)


@pytest.mark.parametrize(("number", "pause_s"), [(2, 5), (3, 10), (4, 20), (9, 640), (10, 900), (10_000, 900)])
def test_the_pause_doubles_up_to_the_longest(number: int, pause_s: float) -> None:
    assert pause_before(number, LADDER) == pause_s


def test_a_ladder_without_growth_stays_at_the_first_pause() -> None:
    ladder = DeliverySection(first_retry_s=30, backoff=1, longest_retry_s=900)
    assert {pause_before(number, ladder) for number in range(2, 50)} == {30.0}
