"""The model server or the client misbehaves: the same bytes and the same kind of end reach the client, and a row."""

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.fault_lab import Lab, lab
from tests.support.fault_model import BIG, BOMB_BYTES, ask, bomb, model
from tests.support.upstream import Upstream, dialled, request_bytes, running
from tests.support.waiting import eventually

ENDS = {
    "stream": "completed",
    "pieces": "completed",
    "no-done": "completed",
    "cut": "truncated",
    "fin": "upstream_error",
    "rst": "upstream_error",
    "429": "upstream_error",
    "500": "upstream_error",
    "error-event": "stream_error",
    "garbage": "completed",
    "latin": "completed",
    "huge-event": "completed",
    "numbers": "completed",
    "mislabelled": "truncated",  # it is no gzip, so nobody can say whether it is all
}


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with running(model) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def here(up: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab"), up.url) as running_lab:
        running_lab.chat("json")
        running_lab.drained()
        yield running_lab


def rows(here: Lab) -> int:
    return int(here.query("SELECT count(*) FROM exchange WHERE outcome <> 'open'")[0][0])


@pytest.mark.parametrize("how", ENDS)
def test_a_fault_of_the_server_reaches_the_client_as_it_is_and_is_a_row(here: Lab, how: str) -> None:
    before = rows(here)
    here.chat(how)
    assert eventually(lambda: rows(here) == before + 1)
    assert ENDS[how] == here.outcome()


def settled(here: Lab, before: int) -> float:
    """Wait for the row of one exchange; return the most memory that the process ever had."""
    assert eventually(lambda: rows(here) == before + 1, 30)
    return here.rss_mib("VmHWM")


def test_a_bomb_passes_as_it_is_and_is_unpacked_only_as_far_as_the_cap(here: Lab) -> None:
    assert BOMB_BYTES / 100 > len(bomb())  # made here, not while a client waits for it
    before, memory = rows(here), here.rss_mib()
    here.chat("bomb")
    assert settled(here, before) - memory < 200 < 2 * BOMB_BYTES / 2**20
    assert any("content_encoding" in note for note in json.loads(note_of(here)))


def test_a_hundred_megabytes_down_pass_and_are_capped_in_the_log(here: Lab) -> None:
    before, memory = rows(here), here.rss_mib()
    here.chat("big")
    assert settled(here, before) - memory < 160 < BIG / 2**20 * 2
    assert [f"response_capped:{BIG}"] == [note for note in json.loads(note_of(here)) if "capped" in note]


def test_a_hundred_megabytes_up_pass_and_are_capped_in_the_log(here: Lab, up: Upstream) -> None:
    before, memory = rows(here), here.rss_mib()
    sent = ask("json", 600, padding=BIG)
    with dialled(here.url, sent) as client:
        assert b"200" in client.read_until(b"\r\n")
    body = up.requests.pop().body
    assert sent.endswith(body)
    assert settled(here, before) - memory < 160
    assert f"request_capped:{len(body)}" in json.loads(note_of(here))


def note_of(here: Lab) -> str:
    found: str = here.query("SELECT notes FROM exchange ORDER BY id DESC LIMIT 1")[0][0]
    return found


def test_nesting_without_end_is_a_row(here: Lab) -> None:
    before = rows(here)
    here.chat("deep")
    assert eventually(lambda: rows(here) == before + 1)


@pytest.mark.parametrize("mark", [b"", b'"Hello"'], ids=["before the first byte", "in the middle"])
def test_a_client_that_leaves_stops_the_model_and_leaves_a_row(here: Lab, up: Upstream, mark: bytes) -> None:
    before, number = rows(here), 700 + len(mark)
    up.gone.clear()
    with dialled(here.url, ask("endless" if mark else "silent", number)) as client:
        if mark:
            client.read_until(mark)
        else:
            assert eventually(lambda: f" {number}".encode() in up.requests[-1].body)
    assert eventually(lambda: rows(here) == before + 1, 2), "the model went on for nobody"
    assert "client_disconnected" == here.outcome()


def test_a_request_that_comes_byte_by_byte_holds_nobody_up(here: Lab) -> None:
    data = ask("json", 800)
    with dialled(here.url, data[:-30]) as slow:
        for byte in data[-30:-1]:
            slow.send(bytes([byte]))
            time.sleep(0.005)
        here.chat("stream")
        slow.send(data[-1:])
        assert b"200" in slow.read_until(b"\r\n")


def test_four_hundred_headers_pass(here: Lab) -> None:
    body = ask("json", 801).partition(b"\r\n\r\n")[2]
    headers = [("content-type", "application/json"), *((f"x-{number}", "v" * 20) for number in range(400))]
    with dialled(here.url, request_bytes(body=body, headers=headers)) as client:
        assert b"200" in client.read_until(b"\r\n")
