"""The disk of the journal is full, slow or refuses to sync; the clock jumps; the journal reaches its bounds."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fault_lab import Lab, Shim, fill, lab, locked, small_disk
from tests.support.fault_model import ask, model
from tests.support.upstream import Upstream, dialled, read_answer, running
from tests.support.waiting import eventually

MIXED = ("json", "stream", "tool")
SLOW_MS = 300


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with running(model) as upstream:
        yield upstream


# ---- full -----------------------------------------------------------------------------------------------------------


def test_a_full_disk_under_the_journal_costs_what_ends_meanwhile_and_each_loss_is_counted(
    tmp_path: Path, up: Upstream
) -> None:
    with (
        small_disk(tmp_path / "small", "1m") as disk,
        lab(tmp_path, up.url, journal_dir=disk / "journal", min_free_bytes=0) as here,
    ):
        here.chat(*MIXED)
        here.drained()
        filler = fill(disk)
        here.chat(*MIXED, times=3, padding=50_000)  # none fits, but the last page may have room for some stubs
        filler.unlink()

        def is_kept_again() -> bool:
            here.chat("json")
            return eventually(lambda: here.delivered[-1] in here.stored(), 1)

        assert eventually(is_kept_again)
        # Of some the request waited until there was room again: they are there, without their answers.
        missing = set(here.delivered) - set(here.stored("e.outcome = 'completed'"))
        assert eventually(lambda: sum(here.gaps().values()) >= len(missing))
        assert set(here.delivered[3:12]) <= missing
        assert here.health()["lost"] == here.gaps().get("journal", 0)


def test_beyond_its_bound_the_journal_keeps_facts_without_texts_and_counts_them(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url, journal_max_bytes=200_000) as here:
        here.chat("json")
        here.drained()
        with locked(here.database):
            here.chat(*MIXED, times=4, padding=20_000)
            assert here.backlog() < 250_000
        assert eventually(lambda: len(here.query("SELECT 1 FROM exchange WHERE outcome <> 'open'")) == 13, 30)
        shed = here.gaps()["overflow"]
        assert 3 <= shed == here.health()["shed"] <= 8
        here.drained(without=shed)
        sizes = here.query("SELECT request_size, response_size FROM exchange WHERE user_message_id IS NULL")
        assert shed == len(sizes)
        assert all(asked > 20_000 and answered > 100 for asked, answered in sizes), "a stub knows how long all was"
        assert eventually(lambda: here.backlog() < 100_000, 10)
        time.sleep(1.2)  # how much room there is, is looked at once a second
        here.chat(*MIXED)
        here.drained(without=shed)
        assert shed == here.gaps()["overflow"]


def test_who_would_rather_wait_than_lose_waits_until_there_is_room(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url, journal_max_bytes=64_000, on_full="block") as here:
        here.chat("json")
        here.drained()
        with locked(here.database):
            here.chat(*MIXED, padding=19_000)
            blocked = threading.Thread(target=here.chat, args=MIXED)
            n_asked = len(up.requests)
            blocked.start()
            assert eventually(lambda: len(up.requests) > n_asked)  # directly
            blocked.join(0.5)
            assert blocked.is_alive()
            assert n_asked + 1 == len(up.requests), "it was passed on"
        blocked.join(30)
        assert not blocked.is_alive()
        here.drained()
        assert {} == here.gaps()


def status_now(here: Lab) -> int:
    here._number += 1
    with dialled(here.url, ask("json", here._number)) as client:
        return read_answer(client).status


def test_who_would_rather_refuse_than_lose_refuses_until_there_is_room(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url, journal_max_bytes=64_000, on_full="refuse") as here:
        here.chat("json")
        here.drained()
        with locked(here.database):
            here.chat(*MIXED, padding=19_000)
            n_asked = len(up.requests)
            with dialled(here.url, ask("json", 900)) as client:
                refused = read_answer(client)
            assert (503, n_asked) == (refused.status, len(up.requests))
            assert b'"log_full"' in refused.body
            assert "full" in str(here.health()["last_error"])
        here.drained()
        assert eventually(lambda: status_now(here) == 200, 20)
        here.chat(*MIXED)
        here.drained()
        assert {} == here.gaps()


# ---- slow, failing --------------------------------------------------------------------------------------------------


def first_and_last(here: Lab) -> tuple[float, float]:
    """Return the seconds to the first and to the last event of an answer."""
    with dialled(here.url, ask("paced", 1)) as client:
        began = time.monotonic()
        client.read_until(b'"role"')
        first = time.monotonic() - began
        client.read_until(b"[DONE]")
        return first, time.monotonic() - began


def test_a_slow_disk_delays_nothing_but_the_last_byte_and_that_only_where_asked_for(
    tmp_path: Path, up: Upstream
) -> None:
    for level, is_delayed in (("process", False), ("power", True)):
        folder = tmp_path / level
        folder.mkdir()
        shim = Shim(folder)
        with lab(folder, up.url, environment=shim.environment, durability=level) as here:
            here.chat(*MIXED)
            here.drained()
            shim.set(sync_ms=SLOW_MS)
            first, last = first_and_last(here)
            assert first < SLOW_MS / 1000
            assert is_delayed == (last >= SLOW_MS / 1000)
            with ThreadPoolExecutor(8) as pool:
                began = time.monotonic()
                list(pool.map(lambda number: here.chat("json"), range(8)))
                took = time.monotonic() - began
            assert took < 6 * SLOW_MS / 1000, "eight answers shared no sync"
            shim.set()
            here.drained()
            assert {} == here.gaps()


@pytest.mark.parametrize("percent", [30, 100])
def test_a_disk_that_refuses_to_sync_is_counted_and_the_answers_go_on(
    tmp_path: Path, up: Upstream, percent: int
) -> None:
    shim = Shim(tmp_path)
    with lab(tmp_path, up.url, environment=shim.environment, durability="power") as here:
        here.chat(*MIXED)
        here.drained()
        shim.set(sync_fails_percent=percent)
        here.chat(*MIXED, times=5)
        assert here.health()["failures"] > 0, "a sync that failed was taken for one that did not"
        shim.set()
        here.chat(*MIXED)
        here.drained()
        assert {} == here.gaps()


# ---- the clock ------------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_changes_no_duration_and_no_order(tmp_path: Path, up: Upstream) -> None:
    shim = Shim(tmp_path)
    with lab(tmp_path, up.url, environment=shim.environment) as here:
        for jump in (0, -86_400, 3_600, -7, 10 * 365 * 86_400, 0):
            shim.set(clock_s=jump)
            here.chat("json", "stream")
            with dialled(here.url, ask("endless", 5000 + len(here.delivered))) as client:
                client.read_until(b'"Hello"')
                shim.set(clock_s=jump - 3_600)
        here.drained()
        assert eventually(lambda: here.query("SELECT count(*) FROM exchange WHERE outcome = 'open'") == [(0,)])
        rows = here.query("SELECT uid, total_ms FROM exchange ORDER BY id")
        assert 18 == len(rows) == len(set(rows))
        assert [uid for uid, _ in rows] == sorted(uid for uid, _ in rows), "ids of one process are ordered"
        assert all(0 <= took < 10_000 for _, took in rows)
        assert ({}, 0) == (here.gaps(), here.health()["failures"])
