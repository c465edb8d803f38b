"""Mutated captures of all protocols, in any chunks, under any headers and with any end. ``make fuzz`` goes deeper."""

import gzip
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.checks import check, check_stored, plain, with_body
from fuzz.inputs import ENCODINGS, ENDS, STATUSES, TYPES, bytes_of, exchange_of, pieces_of, seeds
from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import End, RawExchange, ResponseStart

SEEDS = dict(seeds())
BODIES = sorted({raw.response_body for raw in SEEDS.values()})
JUNK = [
    b"",
    b"\0",
    b"\xff",
    b"\xed\xa0\xbd",  # half a surrogate, as if it were a character
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"data: ",
    b"data: [DONE]\n\n",
    b"event: error\n",
    b": ping\n\n",
    b'"',
    b"\\",
    b"{",
    b"}",
    b"]",
    b",",
    b"null",
    b"1e999",
    b"-1",
    b"NaN",
    b"9" * 5000,
    b"[" * 200,
    b"[" * 5000,
    b'{"a":' * 150,
    b"\\ud83d",
    b"\\u0000",
    b'"index":0,',
    b'"id":null,',
    b'"tool_calls":[{}],',
    b'"choices":[{"index":0},{"index":0}],',
    b'"error":"x",',
    b"<tool_call>",
    b'{"name": "tarx_recall", "arguments": {}}',
    b"x" * 3000,
]
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "gzip, deflate": lambda data: zlib.compress(gzip.compress(data)),
}

places = st.floats(0, 1)
mutations = st.lists(
    st.tuples(st.sampled_from(["insert", "flip", "delete", "repeat", "splice"]), places, st.integers(1, 300)).flatmap(
        lambda known: st.tuples(*map(st.just, known), st.sampled_from(JUNK) | st.binary(max_size=8))
    ),
    max_size=6,
)


def mutated(data: bytes, changes: list[tuple[str, float, int, bytes]], other: bytes) -> bytes:
    for what, place, size, junk in changes:
        at = int(place * len(data))
        if what == "insert":
            data = data[:at] + junk + data[at:]
        elif what == "flip":
            data = data[:at] + bytes(byte ^ (1 << size % 8) for byte in data[at : at + 1]) + data[at + 1 :]
        elif what == "delete":
            data = data[:at] + data[at + size :]
        elif what == "repeat":
            data = data[:at] + data[at : at + size] * 3 + data[at + size :]
        else:
            data = data[:at] + other[int(place * len(other)) :]
    return data


@pytest.fixture(scope="module")
def log() -> Iterator[ToolLog]:
    with tempfile.TemporaryDirectory() as folder:
        opened = ToolLog.open(settings=Settings(database=str(Path(folder) / "t.db")), read_only=False)
        with opened:
            yield opened


@settings(max_examples=2 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(list(SEEDS)),
    of_request=mutations,
    of_answer=mutations,
    other=st.sampled_from(BODIES),
    cuts=st.lists(st.integers(0, 20_000), max_size=20),
    kind=st.none() | st.sampled_from(TYPES),
    status=st.none() | st.sampled_from(STATUSES),
    end=st.sampled_from(ENDS),
)
def test_mutated_captures_raise_nothing_read_the_same_in_pieces_and_can_be_stored(
    log: ToolLog,
    name: str,
    of_request: list[tuple[str, float, int, bytes]],
    of_answer: list[tuple[str, float, int, bytes]],
    other: bytes,
    cuts: list[int],
    kind: str | None,
    status: int | None,
    end: End | None,
) -> None:
    raw = SEEDS[name]
    start = raw.response or ResponseStart(200)
    headers = start.headers if kind is None else (("content-type", kind),)
    start = replace(start, headers=headers, status=start.status if status is None else status)
    raw = replace(raw, request_body=mutated(raw.request_body, of_request, other), response=start, end=end)
    body = mutated(raw.response_body, of_answer, other)

    check_stored(check(*_cut(raw, body, cuts)), log)


@given(
    name=st.sampled_from(list(SEEDS)),
    packed=st.sampled_from(list(PACKERS)),
    says=st.sampled_from(ENCODINGS),
    of_answer=mutations,
    kept=st.floats(0, 1.2),
    cuts=st.lists(st.integers(0, 2000), max_size=20),
)
def test_packed_captures_with_true_and_false_headers_raise_nothing_and_read_the_same_in_pieces(
    name: str, packed: str, says: str, of_answer: list[tuple[str, float, int, bytes]], kept: float, cuts: list[int]
) -> None:
    raw = SEEDS[name]
    start = raw.response or ResponseStart(200)
    raw = replace(raw, response=replace(start, headers=(*start.headers, ("content-encoding", says))))
    body = PACKERS[packed](raw.response_body)
    body = mutated(body[: int(kept * len(body))], of_answer, body)

    check(*_cut(raw, body, cuts))


def _cut(raw: RawExchange, body: bytes, cuts: list[int]) -> tuple[RawExchange, list[bytes]]:
    return with_body(raw, [body]), pieces_of(body, cuts)


@pytest.mark.parametrize("name", SEEDS)
def test_a_seed_survives_the_way_into_the_corpus_and_back(name: str) -> None:
    raw = SEEDS[name]
    data = bytes_of(raw)
    assert data is not None

    again = exchange_of(data)

    assert (raw.request_body, raw.response_body) == (again.request_body, again.response_body)
    assert raw.begin.path.endswith(again.begin.path)
    assert plain(check(again, [chunk.data for chunk in again.chunks])) == plain(decode(again))
