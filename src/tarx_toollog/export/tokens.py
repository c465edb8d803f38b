"""How many tokens a row has: counted by the server that made it, or estimated from rows that it counted.

*Theory.* The answer of a step was generated after exactly its prompt, so the usage that the server reported for that
request is the length of the row under the served template: no tokenizer is needed. What the server never saw (an
imported row, a trimmed one, a log without usage) is estimated: tokens are taken to be a sum over four parts, the bytes
of tool definitions, of prose, of data (results and arguments), and the number of messages, whose weights are the
least-squares fit over all rows that were counted. The defaults, which the fit starts from and which
stand for parts that were not seen, are rules of thumb: JSON with ids takes more tokens than prose of its length.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tarx_toollog.export.example import Piece

_DEFAULTS = (1 / 3.3, 1 / 4.0, 1 / 1.8, 8.0)
_PRIOR = (2000.0, 2000.0, 2000.0, 20.0)  # the defaults weigh as much as one row with parts of this size
_ALL, _ONE_IN = 4000, 32  # rows that are all learned from; of those after them, one in so many


class Parts(NamedTuple):
    """What the length of a text depends on: bytes of three kinds, and messages."""

    tools: int = 0
    prose: int = 0
    data: int = 0
    messages: int = 0


def parts_of(messages: Sequence[Piece], tools: Piece | None) -> Parts:
    """Return the parts of a row, or of some messages of one."""
    prose = data = 0
    for piece in messages:
        message = piece.value
        if message["role"] == "tool":
            data += piece.size
        elif "tool_calls" in message:
            said = len(message["content"].encode())
            prose += said
            data += piece.size - said
        else:
            prose += piece.size
    return Parts(0 if tools is None else tools.size, prose, data, len(messages))


class Calibration:
    """Learns tokens from rows that a server counted."""

    def __init__(self) -> None:
        self.n_rows = 0
        self._xx = [[weight * weight * (i == j) for j in range(4)] for i, weight in enumerate(_PRIOR)]
        self._xy = [weight * weight * default for weight, default in zip(_PRIOR, _DEFAULTS, strict=True)]
        self._solved: tuple[float, ...] | None = None

    def wants(self) -> bool:
        """Say whether to learn from the next row that was counted: of many, one in some is enough."""
        self.n_rows += 1
        return self.n_rows <= _ALL or self.n_rows % _ONE_IN == 0

    def learn(self, parts: Parts, n_tokens: int) -> None:
        """Take in a row that was counted."""
        self._solved = None
        for i, left in enumerate(parts):
            if left:
                self._xy[i] += left * n_tokens
                row = self._xx[i]
                for j, right in enumerate(parts):
                    row[j] += left * right

    def estimate(self, parts: Parts) -> int:
        """Return the tokens that a row with these parts is likely to have, at least 1."""
        return max(1, round(sum(weight * part for weight, part in zip(self.weights, parts, strict=True))))

    @property
    def weights(self) -> tuple[float, ...]:
        """Tokens for a byte of tools, of prose, of data, and for a message."""
        if self._solved is None:
            solved = _solve(self._xx, self._xy)
            # A weight below 0, or ten times its default, says that the part hardly varies: its default does less harm.
            bounded = zip(solved, _DEFAULTS, strict=True)
            self._solved = tuple(min(max(weight, default / 10), default * 10) for weight, default in bounded)
        return self._solved


def _solve(matrix: Sequence[Sequence[float]], values: Sequence[float]) -> list[float]:
    """Solve a small positive definite system by elimination."""
    rows = [[*row, value] for row, value in zip(matrix, values, strict=True)]
    size = len(rows)
    for i in range(size):
        for below in rows[i + 1 :]:
            factor = below[i] / rows[i][i]
            for j in range(i, size + 1):
                below[j] -= factor * rows[i][j]
    solved = [0.0] * size
    for i in reversed(range(size)):
        known = sum(rows[i][j] * solved[j] for j in range(i + 1, size))
        solved[i] = (rows[i][size] - known) / rows[i][i]
    return solved
