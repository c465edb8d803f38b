"""Fuzz target: what reads a text that a model wrote: arguments, their repair, and calls leaked into an answer.

python -m fuzz.arguments_target [libFuzzer options] CORPUS
"""

import sys

import atheris  # type: ignore[import-untyped]  # it ships no types

with atheris.instrument_imports(include=["tarx_toollog"]):
    from fuzz.checks import check_text


def run(data: bytes) -> None:
    """Check one text; bytes that are no UTF-8 stand for half surrogates, as a model may write them."""
    check_text(data.decode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    atheris.Setup(sys.argv, run)
    atheris.Fuzz()
