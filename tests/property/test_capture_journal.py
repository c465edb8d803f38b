"""What goes into the journal comes out of it, however it was cut into appends and wherever it breaks off."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.ids import uuid7
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store.frames import Assembly
from tarx_toollog.store.journal import Journal
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

texts = st.text(max_size=20)
headers = st.lists(st.tuples(texts, texts), max_size=3).map(tuple)
offsets = st.integers(0, 2**62)
begins = st.builds(
    Begin,
    uid=st.builds(uuid7),
    leg=st.sampled_from(["middleware", "transport", "proxy", "replay"]),
    method=texts,
    path=texts,
    started_ns=offsets,
    headers=headers,
    client_key=st.none() | texts,
    upstream=st.none() | texts,
    conversation_hint=st.none() | texts,
    hint_source=st.none() | texts,
    outer_uid=st.none() | texts,
    run_uid=st.none() | texts,
    body_size=offsets,
)
exchanges = st.builds(
    RawExchange,
    begin=begins,
    request_body=st.binary(max_size=200),
    response=st.none() | st.builds(ResponseStart, st.integers(0, 999), headers, offsets),
    chunks=st.lists(st.builds(Chunk, offsets, st.binary(max_size=50)), max_size=5).map(tuple),
    end=st.none()
    | st.builds(End, offsets, st.booleans(), st.booleans(), st.none() | texts, st.none() | texts, offsets),
)


def read_back(folder: Path) -> dict[str, RawExchange]:
    assemblies: dict[str, Assembly] = {}
    for path in jr.list_segments(folder):
        for frame in fr.read_frames(path):
            assemblies.setdefault(frame.uid, Assembly()).add(frame)
    return {uid: raw for uid, assembly in assemblies.items() if (raw := assembly.raw()) is not None}


@given(written=st.lists(exchanges, max_size=4), segment_bytes=st.integers(1, 2000))
def test_interleaved_exchanges_come_out_as_they_went_in(
    tmp_path_factory: pytest.TempPathFactory, written: list[RawExchange], segment_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jr, "MAX_SEGMENT_BYTES", segment_bytes)
        journal = Journal(folder, "w")
        queues = [fr.exchange_frames(UUID(raw.begin.uid).bytes, raw) for raw in written]
        while any(queues):
            for queue in queues:
                if queue:
                    journal.append([queue.pop(0)])

    assert {raw.begin.uid: raw for raw in written} == read_back(folder)
    journal.close()


@given(raw=exchanges, data=st.data())
def test_a_segment_that_was_cut_anywhere_gives_a_beginning_of_what_went_in(
    tmp_path_factory: pytest.TempPathFactory, raw: RawExchange, data: st.DataObject
) -> None:
    frames = fr.exchange_frames(UUID(raw.begin.uid).bytes, raw)
    whole = fr.MAGIC + fr.pack_frames(frames)
    path = tmp_path_factory.mktemp("cut") / "w-0.tlj"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole)), label="cut")])

    found = [(frame.kind, frame.payload) for frame in fr.read_frames(path)]

    assert [(kind, b"".join(payload)) for kind, _, payload in frames][: len(found)] == found
