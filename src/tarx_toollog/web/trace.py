"""What the pages of conversations and exchanges need besides the rows: places, texts that fit a page, and commands."""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.store.answers.conversation_trace import CallTrace, ConversationTrace, Shown, StepTrace
from tarx_toollog.web import addresses
from tarx_toollog.web.visible import pretty

PAGE_BYTES = 50_000
"""Of the texts of one page as they are sent; with all that stands around them it has less than 150 kB."""
INLINE = 8_000
"""Characters of a request that a command holds itself."""

_LEAST = 100  # characters: less says nothing
_END = "TOOLLOG"  # ends the body in the command; the body is one line of JSON, so the word cannot stand alone in it
_ESCAPED = {"&": 5, "<": 4, ">": 4, '"': 5, "'": 5}


class Excerpt(NamedTuple):
    """A text as a page shows it."""

    text: str
    size: int
    """Characters of all of it."""
    is_cut: bool


def step_address(conversation_uid: str, turn_no: int | None, step_no: int | None) -> str:
    """Return the page of a conversation that begins with a step: a turn may be longer than a page."""
    if turn_no is None or step_no is None:
        return addresses.conversation(conversation_uid)
    address = addresses.conversation(conversation_uid, turn_no, step_no)
    return addresses.with_query(address, step=None if step_no == 1 else step_no)


class Excerpts:
    """Cuts texts so that a page holds them all.

    Args:
        texts: All texts of the page.
    """

    def __init__(self, texts: Sequence[Shown | None]) -> None:
        sizes = sorted(_bytes(text.text) for text in texts if text is not None)
        self._most = _fair(sizes, PAGE_BYTES)

    def __call__(self, shown: Shown) -> Excerpt:
        """Return what is shown of a text."""
        share = min(1.0, self._most / max(1, _bytes(shown.text)))
        text = shown.text[: max(_LEAST, int(len(shown.text) * share))]
        return Excerpt(text, shown.size, len(text) < shown.size)

    def json(self, shown: Shown) -> Excerpt:
        """Return what is shown of a text that is JSON as a rule: indented where it is, and is shown whole."""
        cut = self(shown)
        return cut if cut.is_cut else cut._replace(text=_indented(cut.text))


def texts_of(trace: ConversationTrace) -> Iterator[Shown | None]:
    """Yield all texts that the page of a conversation shows."""
    for turn in trace.turns:
        yield turn.user
        for branch in turn.branches:
            yield branch.asked
        for step in (*turn.steps, *(step for branch in turn.branches for step in branch.steps)):
            yield from texts_of_step(step)


def texts_of_step(step: StepTrace) -> Iterator[Shown | None]:
    """Yield all texts of a step."""
    yield step.answer
    for call in step.calls:
        yield call.arguments
        yield call.result


def objections(call: CallTrace) -> list[str]:
    """Return what the schema of its tool objects to."""
    return [one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in call.schema_errors]


def curl_command(url: str, body: str | None) -> str:
    """Return a command for a shell that sends a request again.

    Args:
        url: Where to.
        body: One line of JSON; None: it is read from the file ``request.json``.
    """
    command = f"curl -sS {shlex.quote(url)} -H 'content-type: application/json' --data-binary"
    return f"{command} @request.json" if body is None else f"{command} @- <<'{_END}'\n{body}\n{_END}"


def request_url(upstream: str, route: str) -> str:
    """Return where a request went.

    Example:
        >>> request_url("http://127.0.0.1:11435/v1", "/v1/chat/completions")
        'http://127.0.0.1:11435/v1/chat/completions'
    """
    base = upstream.rstrip("/")
    return (base.removesuffix("/v1") if route.startswith("/v1/") else base) + urlsplit(route).path


def _fair(sizes: Sequence[float], budget: float) -> float:
    """Return how large a text may be so that all of them fit: short ones leave their share to the long ones."""
    left = budget
    for place, size in enumerate(sizes):
        share = left / (len(sizes) - place)
        if size > share:
            return share
        left -= size
    return budget


def _bytes(text: str) -> int:
    """Return how many bytes a text has in a page."""
    return len(text.encode("utf-8", "replace")) + sum(text.count(mark) * (n - 1) for mark, n in _ESCAPED.items())


def _indented(text: str) -> str:
    try:
        value: Any = parse_json(text)
    except (InvalidJsonError, RecursionError):
        return text
    return text if isinstance(value, str) else pretty(value)
