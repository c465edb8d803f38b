"""What a long chain of calls adds to a store, where every request carries the whole history again."""

import pytest

from bench.growth import chain


@pytest.mark.parametrize(("length", "most_bytes"), [(50, 200_000), (200, 500_000)])
def test_a_chain_is_kept_once_and_every_request_of_it_is_made_anew(length: int, most_bytes: int) -> None:
    figures = chain(length)

    assert f"{length + 1} of {length + 1}" == figures["rebuilt"]
    assert figures["added_bytes"] < most_bytes
