"""All about one example: what became of it at each stage, and its texts."""

import json
from typing import Any

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.export.reasons import REASONS, STAGE_OF
from tarx_toollog.store.spool import Entry, Spool

_MOST = 50  # a prefix that fits more is no name


class Explanation:
    """Looks one example up when everything is decided.

    Args:
        name: The beginning of an example id, or of the uid of an exchange.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[dict[str, Any]] = []

    def __call__(self, spool: Spool) -> None:
        """Find what is meant.

        Raises:
            NothingMatchedError: There is none.
        """
        for entry in spool.entries(only_in=False):
            if self._is_meant(entry) and len(self._found) < _MOST:
                self._found.append(_explained(spool, entry))
        if not self._found:
            raise NothingMatchedError(
                f"no example begins with {self._name!r}, and no exchange that was looked at",
                hint="`toollog export why` looks in the builds that were written; `toollog log list` shows exchanges",
            )

    def as_json(self) -> list[dict[str, Any]]:
        """Return what was found, for ``--json``."""
        return self._found

    def text(self) -> str:
        """Return what was found, for a terminal."""
        return "\n\n".join("\n".join(_lines(one)) for one in self._found)

    def _is_meant(self, entry: Entry) -> bool:
        known = ((entry.hash or b"").hex(), entry.exchange_uid or "", f"{entry.file}:{entry.line}")
        return any(value.startswith(self._name) for value in known)


def _explained(spool: Spool, entry: Entry) -> dict[str, Any]:
    body = spool.body(entry.key)
    return {
        "example_id": None if entry.hash is None else entry.hash.hex(),
        "is_in": entry.reason is None and entry.copies > 0,
        "stage": None if entry.reason is None else STAGE_OF.get(entry.reason),
        "reason": entry.reason,
        "source": entry.source,
        "exchange_uid": entry.exchange_uid,
        "conversation_uid": entry.conversation_uid,
        "turn_no": entry.turn_no,
        "step_no": entry.step_no,
        "from_file": entry.file,
        "from_line": entry.line,
        "kept_for": entry.registry,
        "split": entry.split,
        "copies": entry.copies,
        "calls": entry.calls,
        "n_tokens": entry.n_tokens,
        "n_trained_tokens": entry.n_trained,
        "tokens_from": entry.tokens_from,
        "prompt": None if body is None else json.loads(body.prompt),
        "answer": None if body is None else json.loads(body.answer),
        "tools": json.loads(spool.tools_text(entry.tools) or "[]"),
    }


def _lines(one: dict[str, Any]) -> list[str]:
    name = one["example_id"] or one["exchange_uid"] or f"{one['from_file']}:{one['from_line']}"
    if one["is_in"]:
        lines = [f"{name} is in: {one['split']}, {one['copies']} × {one['n_tokens']} tokens ({one['tokens_from']})"]
    else:
        lines = [f"{name} is left out by {one['stage']}: {REASONS.get(one['reason'], one['reason'])}"]
    if one["exchange_uid"]:
        lines.append(f"  exchange {one['exchange_uid']}, turn {one['turn_no']}, step {one['step_no']}")
    for message in [*(one["prompt"] or ()), *([one["answer"]] if one["answer"] else ())]:
        lines.append(f"  {message['role']:<9} {message['content']}".rstrip())
        for call in message.get("tool_calls", ()):
            arguments = json.dumps(call["function"]["arguments"], ensure_ascii=False)
            lines.append(f"  {'':<9} → {call['function']['name']}({arguments})")
    return lines
