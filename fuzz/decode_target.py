"""Fuzz target: one whole exchange, request, answer and headers, through ``decode``.

python -m fuzz.decode_target [libFuzzer options] CORPUS
"""

import sys

import atheris  # type: ignore[import-untyped]  # it ships no types

with atheris.instrument_imports(include=["tarx_toollog"]):
    from fuzz.checks import check
    from fuzz.inputs import exchange_of


def run(data: bytes) -> None:
    """Check one file of the corpus."""
    raw = exchange_of(data)
    check(raw, [chunk.data for chunk in raw.chunks])


if __name__ == "__main__":
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()
