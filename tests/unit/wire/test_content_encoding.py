"""Decoding of compressed body copies: what is right, what is broken, and what is a bomb."""

import gzip
import sys
import types
import zlib

import pytest

from tarx_toollog.wire.content_encoding import MAX_OUTPUT, MIN_LIMIT, ContentDecoder, DecodedBody, decode_content

TEXT = b'{"choices": []}' * 100


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


BODIES = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT),
    "GZIP ": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "identity": TEXT,
    "": TEXT,
    "deflate, gzip": gzip.compress(zlib.compress(TEXT)),
    "gzip, identity": gzip.compress(TEXT),
}


@pytest.mark.parametrize("encoding", BODIES)
def test_a_body_is_decoded_whole_and_byte_by_byte(encoding: str) -> None:
    data = BODIES[encoding]
    decoder = ContentDecoder(encoding, len(data))

    pieces = b"".join(decoder.feed(data[place : place + 1]) for place in range(len(data)))
    decoder.close()

    assert DecodedBody(TEXT, None) == decode_content(data, encoding)
    assert DecodedBody(TEXT, None) == DecodedBody(pieces, decoder.note)


def test_deflate_without_the_zlib_header_is_read_too() -> None:
    assert DecodedBody(TEXT, None) == decode_content(raw_deflate(TEXT), "deflate")


def test_all_members_of_a_gzip_body_are_read_and_padding_is_not() -> None:
    assert DecodedBody(b"onetwo", None) == decode_content(
        gzip.compress(b"one") + gzip.compress(b"two") + b"\0\0", "gzip"
    )


def test_a_truncated_body_gives_what_was_there() -> None:
    data, note = decode_content(gzip.compress(TEXT)[:-12], "gzip")

    assert note == "content_encoding_truncated"
    assert data
    assert TEXT.startswith(data)


def test_an_empty_body_is_truncated() -> None:
    assert DecodedBody(b"", "content_encoding_truncated") == decode_content(b"", "gzip")


def test_a_body_that_is_not_compressed_at_all_is_noted() -> None:
    assert DecodedBody(b"", "content_encoding_invalid:gzip") == decode_content(TEXT, "gzip")


def test_what_was_decoded_before_a_fault_is_kept_however_the_body_is_cut() -> None:
    text = bytes(range(256)) * 40
    data = bytearray(gzip.compress(text))
    data[-6] ^= 0xFF  # the checksum at the end

    decoder = ContentDecoder("gzip", len(data))
    pieces = b"".join(decoder.feed(bytes(data[place : place + 1])) for place in range(len(data)))

    assert DecodedBody(text, "content_encoding_invalid:gzip") == decode_content(bytes(data), "gzip")
    assert (text, "content_encoding_invalid:gzip") == (pieces, decoder.note)


def test_a_bomb_is_cut_at_the_ratio() -> None:
    bomb = gzip.compress(b"\0" * 20_000_000)

    data, note = decode_content(bomb, "gzip")

    assert note == "content_encoding_limit"
    assert 200 * len(bomb) == len(data)


def test_a_bomb_inside_a_bomb_is_cut() -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))

    data, note = decode_content(bomb, "gzip, gzip")

    assert note == "content_encoding_limit"
    assert len(data) <= MIN_LIMIT


def test_a_large_body_is_cut_at_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.wire.content_encoding.MAX_OUTPUT", 100_000)
    text = bytes(range(256)) * 1000

    assert DecodedBody(text[:100_000], "content_encoding_limit") == decode_content(gzip.compress(text), "gzip")
    assert MAX_OUTPUT == 32 * 1024 * 1024


def test_an_output_of_exactly_the_limit_is_not_cut() -> None:
    assert DecodedBody(b"\0" * MIN_LIMIT, None) == decode_content(gzip.compress(b"\0" * MIN_LIMIT), "gzip")


@pytest.mark.parametrize("encoding", ["zstd", "gzip, zstd", "nonsense"])
def test_an_encoding_that_we_cannot_read_is_noted(encoding: str) -> None:
    unknown = encoding.rpartition(" ")[2]

    assert DecodedBody(b"", f"content_encoding_unsupported:{unknown}") == decode_content(TEXT, encoding)


def test_brotli_is_noted_when_no_module_for_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    monkeypatch.setitem(sys.modules, "brotlicffi", None)

    assert DecodedBody(b"", "content_encoding_unsupported:br") == decode_content(TEXT, "br")


class FakeBrotli:
    """A decompressor with brotli's interface that reverses the text; brotli itself is no dependency."""

    def __init__(self) -> None:
        self.held = b""

    def process(self, data: bytes, output_buffer_limit: int) -> bytes:
        if data == b"broken":
            raise ValueError("broken")
        self.held += data[::-1]
        out, self.held = self.held[: min(output_buffer_limit, 4)], self.held[min(output_buffer_limit, 4) :]
        return out

    def is_finished(self) -> bool:
        return not self.held


def test_brotli_is_read_with_the_module_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("brotli")
    module.__dict__.update(Decompressor=FakeBrotli, error=ValueError)
    monkeypatch.setitem(sys.modules, "brotli", module)

    assert DecodedBody(b"some text", None) == decode_content(b"txet emos", "br")
    assert DecodedBody(b"", "content_encoding_invalid:br") == decode_content(b"broken", "br")


def test_a_brotli_module_that_cannot_bound_its_output_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class OldBrotli:
        def process(self, data: bytes) -> bytes:
            return data

        def is_finished(self) -> bool:
            return True

    module = types.ModuleType("brotli")
    module.__dict__.update(Decompressor=OldBrotli, error=ValueError)
    monkeypatch.setitem(sys.modules, "brotli", module)

    assert DecodedBody(b"", "content_encoding_invalid:br") == decode_content(b"bomb", "br")
