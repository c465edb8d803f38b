"""An exchange that cannot be stored is put aside, and nothing that is secret is in what stays of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog.ids import uuid7
from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.store import frames as fr
from tarx_toollog.store import quarantine
from tarx_toollog.store.putting_aside import put_exchange
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

SECRET = "sk-proj-Zk3vQ9xT7mB2nR8wL5cY1dF6hJ4pS0aGqW"


def event(text: str) -> bytes:
    return b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text.encode()


def made(uid: str) -> RawExchange:
    pieces = ["the key is ", SECRET[:12], SECRET[12:30], SECRET[30:]]
    return RawExchange(
        Begin(uid, "proxy", "POST", "/v1/chat/completions", 1),
        b'{"messages":[{"role":"user","content":"my key: %s"}]}' % SECRET.encode(),
        ResponseStart(200, (("content-type", "text/event-stream"),), 2),
        tuple(Chunk(number, event(text)) for number, text in enumerate(pieces, 3)),
        End(9, final_seen=True, exception=f"ValueError: {SECRET}", exception_side="app"),
    )


def kept(folder: Path) -> tuple[bytes, RawExchange]:
    (path,) = (folder / quarantine.FOLDER).iterdir()
    assembly = fr.Assembly()
    for frame in fr.read_frames(path):
        assembly.add(frame)
    raw = assembly.raw()
    assert raw is not None
    return path.read_bytes(), raw


def pieces_in(data: bytes) -> list[str]:
    return [SECRET[at : at + 8] for at in range(len(SECRET) - 7) if SECRET[at : at + 8].encode() in data]


def test_an_exchange_is_redacted_before_it_is_put_aside_also_where_a_value_came_in_pieces(tmp_path: Path) -> None:
    raw = made(uuid7())
    put_exchange(tmp_path, raw, Redactor(Policy.load("secrets"), bytes(32)))

    data, found = kept(tmp_path)
    assert [] == pieces_in(data)
    assert (True, True) == (b"my key: " in found.request_body, b"the key is " in found.response_body)
    assert (raw.begin, raw.response) == (found.begin, found.response)
    assert 2 <= found.request_body.count("⟦".encode()) + found.response_body.count("⟦".encode())


def test_what_has_no_secret_is_put_aside_byte_for_byte(tmp_path: Path) -> None:
    raw = replace(made(uuid7()), request_body=b'{"poison":1}', chunks=(Chunk(3, event("a")), Chunk(4, event("b"))))
    raw = replace(raw, end=End(9, final_seen=True))
    put_exchange(tmp_path, raw, Redactor(Policy.load("secrets"), bytes(32)))

    assert raw == kept(tmp_path)[1]


def test_where_redaction_fails_as_well_the_facts_stay_without_the_texts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(Redactor, "body", broken)
    raw = made(uuid7())
    put_exchange(tmp_path, raw, Redactor(Policy.load("secrets"), bytes(32)))

    data, found = kept(tmp_path)
    assert ([], b"", ()) == (pieces_in(data), found.request_body, found.chunks)
    assert (raw.begin, raw.response, 9) == (found.begin, found.response, found.end and found.end.offset_ns)
