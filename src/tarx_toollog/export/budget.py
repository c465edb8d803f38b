"""The token budget: rows that are too long are left out, or made shorter without tearing a call from its result.

Trainers cut what is too long without a word: in the middle of the tools, or before the answer, which then is learned
from nothing, or is the NaN that ends the run. So no row is left to them.
"""

from collections.abc import Sequence
from dataclasses import replace

from tarx_toollog.export.example import Example, Piece
from tarx_toollog.export.options import Overlong
from tarx_toollog.export.tokens import Calibration, parts_of

CUT_MARK = "\n[… cut …]\n"
"""Stands where the middle of a long result was."""
_MIN_RESULT = 400  # characters that a cut result keeps: its beginning and its end


def shorten(
    example: Example, n_tokens: int, limit: int, policy: Overlong, calibration: Calibration
) -> tuple[Example, int] | None:
    """Return a shorter example and the estimate of its tokens; None where the policy cannot make it fit.

    Args:
        example: One whose answer alone is learned.
        n_tokens: Its tokens.
        limit: Tokens that it may have.
        policy: ``trim-turns`` leaves out the oldest turns, each whole; ``trim-results`` the middle of long results.
        calibration: Tokens of parts; what was counted is divided by it.
    """
    if policy == "drop" or example.targets:
        return None
    whole = calibration.estimate(parts_of(example.messages, example.tools))
    candidates = _without_turns(example) if policy == "trim-turns" else _with_shorter_results(example)
    for shorter in candidates:
        left = calibration.estimate(parts_of(shorter.messages, shorter.tools))
        estimated = -(-n_tokens * left // max(1, whole))
        if estimated <= limit:
            return shorter, estimated
    return None


def _without_turns(example: Example) -> list[Example]:
    messages = example.messages
    starts = [place for place, piece in enumerate(messages) if piece.value["role"] == "user"]
    leading = 0
    while leading < len(messages) and messages[leading].value["role"] == "system":
        leading += 1
    return [_again(example, (*messages[:leading], *messages[start:])) for start in starts[1:]]


def _with_shorter_results(example: Example) -> list[Example]:
    """Return the example with ever shorter results: all but the last message may be a result."""
    longest = max((len(p.value["content"]) for p in example.messages if p.value["role"] == "tool"), default=0)
    found = []
    size = longest // 2
    while size >= _MIN_RESULT:
        found.append(_again(example, tuple(_cut(piece, size) for piece in example.messages)))
        size //= 2
    return found


def _cut(piece: Piece, size: int) -> Piece:
    content = piece.value["content"]
    if piece.value["role"] != "tool" or len(content) <= size:
        return piece
    half = size // 2
    return Piece(piece.value | {"content": content[:half] + CUT_MARK + content[-half:]})


def _again(example: Example, messages: Sequence[Piece]) -> Example:
    return replace(example, messages=tuple(messages), input_tokens=None, notes=(*example.notes, "shortened"))
