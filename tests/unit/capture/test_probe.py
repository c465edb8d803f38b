"""The background probe against real sockets: whom it asks what, when again, and what no server can do to it."""

import json
import queue
import socket
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from tarx_toollog.capture import probe
from tarx_toollog.capture.probe import Prober
from tarx_toollog.store.builds import Place, Probed
from tests.support.described import BAD, LLAMA_CPP, MODEL, OLLAMA, hang, routes
from tests.support.model_server import free_port
from tests.support.upstream import LONG_S, Connection, Request, Script, Upstream, running, whole
from tests.support.waiting import eventually


class Results:
    """Takes what the probe finds."""

    def __init__(self) -> None:
        self.queue: queue.Queue[Probed] = queue.Queue()

    def next(self) -> Probed:
        return self.queue.get(timeout=2 * LONG_S)

    def is_silent(self) -> bool:
        time.sleep(0.2)
        return self.queue.empty()


@contextmanager
def probing(upstream: str = "http://127.0.0.1:9", **options: Any) -> Iterator[tuple[Prober, Results]]:
    results = Results()
    prober = Prober(upstream, results.queue.put, **options)
    try:
        yield prober, results
    finally:
        prober.close()


def asked(up: Upstream) -> list[str]:
    return [f"{request.method.decode()} {request.target.decode()}" for request in up.requests]


@pytest.fixture(autouse=True)
def _no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_GAP_S", 0.0)


# ---- whom it asks what ----------------------------------------------------------------------------------------------


def test_llama_cpp_is_asked_its_own_routes_and_not_those_of_ollama() -> None:
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        probed = results.next()

    assert (Place(up.url, MODEL), None) == (probed.place, probed.error)
    assert probed.facts is not None
    assert ("llama.cpp", "Q4_K_M", 32768) == (probed.facts.server, probed.facts.quantization, probed.facts.n_ctx)
    assert ["GET /props", "GET /v1/models", "GET /lora-adapters"] == asked(up)


def test_ollama_is_asked_about_the_model_that_answered() -> None:
    with running(routes(OLLAMA)) as up, probing() as (prober, results):
        prober.saw(up.url, "qwen3")
        probed = results.next()

    assert probed.facts is not None
    assert ("ollama", 4096) == (probed.facts.server, probed.facts.n_ctx)
    assert ["GET /props", "GET /api/version", "GET /api/ps", "POST /api/show"] == asked(up)
    assert {"model": "qwen3"} == json.loads(up.requests[-1].body)


def test_any_other_server_is_asked_for_its_models() -> None:
    with running(routes({"/v1/models": {"data": [{"id": "m"}]}})) as up, probing() as (prober, results):
        prober.saw(f"{up.url}/v1/", "m")  # clients like to have the prefix in the base URL
        probed = results.next()

    assert probed.facts is not None
    assert ("unknown", "m") == (probed.facts.server, probed.facts.model)
    assert ["GET /props", "GET /api/version", "GET /v1/models"] == asked(up)


def test_where_a_tap_does_not_know_its_server_the_one_of_the_settings_is_asked() -> None:
    with running(routes(LLAMA_CPP)) as up, probing(up.url) as (prober, results):
        prober.saw(None, MODEL)
        probed = results.next()

    assert (Place(up.url, MODEL), True) == (probed.place, probed.is_assumed)
    assert probed.facts is not None


def test_the_server_of_the_settings_is_not_believed_when_it_serves_another_model() -> None:
    with running(routes(LLAMA_CPP)) as up, probing(up.url) as (prober, results):
        prober.saw(None, "gpt-5")
        probed = results.next()

    assert probed.facts is None
    assert "gpt-5" in str(probed.error)


def test_no_login_no_proxy_and_no_redirect_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def elsewhere(request: Request, connection: Connection) -> None:
        whole(b"", 302, ("location", f"{connection.upstream.url}/stolen"))(request, connection)

    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    with running(elsewhere) as up, probing() as (prober, results):
        prober.saw(up.url.replace("//", "//ann:secret@"), MODEL)
        probed = results.next()

    assert (None, up.url) == (probed.facts, probed.place.upstream)
    assert ["GET /props", "GET /api/version", "GET /v1/models"] == asked(up)
    assert {b"host", b"accept", b"accept-encoding", b"connection", b"user-agent"} >= {
        name for request in up.requests for name, _ in request.headers
    }


# ---- when -----------------------------------------------------------------------------------------------------------


def test_a_place_is_asked_again_when_its_time_has_come_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        results.next()
        for _ in range(100):
            prober.saw(up.url, MODEL)
        assert results.is_silent()

        monkeypatch.setattr(probe, "INTERVAL_S", 0.0)
        prober.saw(up.url, "another name, so that the thread plans with the new interval")
        results.next()
        prober.saw(up.url, "another name, so that the thread plans with the new interval")
        assert results.next().error is None
    assert 9 == len(up.requests)


def test_another_model_name_is_asked_about_at_once() -> None:
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        for name in (MODEL, "finetune-v2"):
            prober.saw(up.url, name)
            assert name == results.next().place.model


def test_a_server_that_was_gone_is_asked_at_its_next_answer() -> None:
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        results.next()
        prober.gone("http://127.0.0.1:1")
        prober.saw(up.url, MODEL)
        assert results.is_silent()
        prober.gone(up.url)
        prober.saw(up.url, MODEL)
        assert results.next().error is None


def test_the_pauses_after_failures_grow_to_an_end_and_a_success_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PAUSES_S", (0.05, 0.2))
    times: list[float] = []
    is_up = False

    def script(request: Request, connection: Connection) -> None:
        times.append(time.monotonic())
        (routes(LLAMA_CPP) if is_up else whole(b"", 503))(request, connection)

    with running(script) as up, probing() as (prober, results):
        for _ in range(5):
            probed = saw_until_asked(prober, up.url, results)
            assert "HTTP 503 for /props" == probed.error
            prober.gone(up.url)  # no reason to ask sooner: it did not answer before either
        waited = [later - earlier for earlier, later in pairwise(times)]
        assert [True] * 4 == [w >= least for w, least in zip(waited, (0.05, 0.1, 0.2, 0.2), strict=True)], waited
        is_up = True
        assert saw_until_asked(prober, up.url, results).error is None
        prober.saw(up.url, MODEL)
        assert results.is_silent()


def saw_until_asked(prober: Prober, url: str, results: Results) -> Probed:
    end = time.monotonic() + LONG_S
    while results.queue.empty():
        assert time.monotonic() < end
        prober.saw(url, MODEL)
        time.sleep(0.002)
    return results.next()


def test_names_that_clients_invent_are_forgotten_again_and_asked_about_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "_GAP_S", 0.1)
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        for number in range(1000):
            prober.saw(up.url, f"invented {number}")
        results.next()
        results.next()
        assert len(up.requests) <= 4 * len(LLAMA_CPP)
        assert probe._MAX_PLACES == len(prober._due) >= len(prober._waiting)


def test_saw_costs_next_to_nothing_when_nothing_is_due() -> None:
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        results.next()
        best = min(timeit.repeat(lambda: prober.saw(up.url, MODEL), number=10_000, repeat=5)) / 10_000

    assert best < 5e-6  # 0.4 µs where this was written; a thread or a lock would cost more than that


def test_switched_off_it_asks_nothing() -> None:
    with running(routes(LLAMA_CPP)) as up, probing(enabled=False) as (prober, results):
        prober.saw(up.url, MODEL)
        assert results.is_silent()
    assert [] == up.requests


# ---- what no server can do to it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", BAD)
def test_a_server_that(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it does, it costs a remembered failure and the next server is asked."""
    monkeypatch.setattr(probe, "_TOTAL_S", 0.5)
    script, error = BAD[how]
    with running(script) as bad, running(routes(LLAMA_CPP)) as good, probing() as (prober, results):
        begun = time.monotonic()
        prober.saw(bad.url, MODEL)
        probed = results.next()
        assert time.monotonic() - begun < 2
        assert probed.facts is None
        assert error in str(probed.error)
        monkeypatch.setattr(probe, "_TOTAL_S", 10)  # a busy machine is no failure of the good one
        prober.saw(good.url, MODEL)
        assert results.next().error is None


def drip_headers(_request: Request, connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    for number in range(int(LONG_S / 0.05)):
        connection.send(b"x-%d: y\r\n" % number)
        if connection.upstream.go_on.wait(0.05):
            return


def stop_in_the_last_body(request: Request, connection: Connection) -> None:
    """Send a body that ends with the connection, and never end it."""
    if request.target != b"/v1/models":
        whole(b"{}", 404)(request, connection)
        return
    connection.upstream.go_on.wait(0.4)
    connection.head(200, ("content-type", "application/json"))
    connection.send(b'{"data": [{"id": "qwen2.5-coder-1.5b-q4_k_m"}]}')
    connection.upstream.go_on.wait(LONG_S)


def drip_headers_at_the_second_question(request: Request, connection: Connection) -> None:
    (routes(LLAMA_CPP) if request.target == b"/props" else drip_headers)(request, connection)


@pytest.mark.parametrize("script", [drip_headers, drip_headers_at_the_second_question])
def test_a_server_that_sends_a_header_now_and_then_does_not_hold_up_the_others(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "_TOTAL_S", 0.5)
    with running(script) as slow, running(routes(LLAMA_CPP)) as good, probing() as (prober, results):
        begun = time.monotonic()
        prober.saw(slow.url, MODEL)
        prober.saw(good.url, MODEL)
        probed = results.next()
        assert 0.5 <= time.monotonic() - begun < 1.5
        assert (None, "no answer within 0.5 s") == (probed.facts, probed.error)
        assert results.next().error is None
    assert [] == [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_an_answer_that_was_cut_off_at_the_limit_is_not_taken_for_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_TOTAL_S", 0.5)
    with running(stop_in_the_last_body) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        probed = results.next()

    assert (None, "no answer within 0.5 s") == (probed.facts, probed.error)


def test_a_server_that_is_not_there_or_an_upstream_that_is_no_url_is_remembered() -> None:
    with probing() as (prober, results):
        for upstream in (f"http://127.0.0.1:{free_port()}", "http://no.such.host.invalid", "http://[", "rubbish", ""):
            prober.saw(upstream, MODEL)
            assert results.next().facts is None


def test_a_blocked_network_is_a_remembered_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def blocked(*_: Any, **__: Any) -> Any:
        raise RuntimeError("the network is blocked")

    for name in ("connect", "connect_ex", "bind", "listen"):
        monkeypatch.setattr(socket.socket, name, blocked, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", blocked)
    monkeypatch.setattr(socket, "create_connection", blocked)
    with probing() as (prober, results):
        prober.saw("http://127.0.0.1:11435", MODEL)
        probed = results.next()

    assert (None, "RuntimeError: the network is blocked") == (probed.facts, probed.error)


def test_a_thread_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(probe, "_PENDING_S", 0.0)
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", none_left)
            prober.saw(up.url, MODEL)
        prober.saw(up.url, MODEL)
        assert results.next().error is None


def test_a_sink_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Probed] = []

    def sink(probed: Probed) -> None:
        seen.append(probed)
        raise ValueError("the store is away")

    with running(routes(LLAMA_CPP)) as up:
        prober = Prober(up.url, sink)
        prober.saw(up.url, MODEL)
        prober.saw(up.url, "another")
        assert eventually(lambda: len(seen) == 2)
        prober.close()
    assert "the store is away" in caplog.text


def test_closing_waits_for_a_probe_but_not_for_one_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_CLOSE_S", 0.3)
    with running(routes(LLAMA_CPP)) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        prober.close()
        assert not results.queue.empty()
        prober.saw(up.url, "after the end")
        assert results.next().place.model == MODEL
    assert len(LLAMA_CPP) == len(up.requests)

    with running(hang) as up, probing() as (prober, results):
        prober.saw(up.url, MODEL)
        begun = time.monotonic()
        prober.close()
        assert time.monotonic() - begun < 1
        up.go_on.set()
        assert results.is_silent()


def test_a_forked_child_probes_by_itself() -> None:
    with running(routes(LLAMA_CPP)) as up:
        done = subprocess.run([sys.executable, "-c", FORK, up.url], capture_output=True, text=True, timeout=30)

    assert (0, "child: None\nparent: None\n") == (done.returncode, done.stdout), done.stderr


def test_a_probe_imports_nothing_whose_lock_a_fork_could_leave_behind() -> None:
    with running(routes(LLAMA_CPP)) as up:
        done = subprocess.run([sys.executable, "-c", IMPORTS, up.url], capture_output=True, text=True, timeout=30)

    assert (0, "[]\n") == (done.returncode, done.stdout), done.stderr


IMPORTS = """
import sys
from tarx_toollog.capture.probe import ask
before = set(sys.modules)
assert ask(sys.argv[1], "model")
print(sorted(set(sys.modules) - before))
"""

FORK = """
import os, queue, sys
from tarx_toollog.capture.probe import Prober
found = queue.Queue()
prober = Prober(sys.argv[1], found.put)
prober.saw(sys.argv[1], "before")
prober._lock.acquire()                      # as if the thread of the probe held it at this moment
pid = os.fork()
if not pid:
    found = queue.Queue()
    prober._sink = found.put
    prober.saw(sys.argv[1], "in the child")
    print("child:", found.get(timeout=10).error, flush=True)
    os._exit(0)
prober._lock.release()
os.waitpid(pid, 0)
print("parent:", found.get(timeout=10).error)
"""
