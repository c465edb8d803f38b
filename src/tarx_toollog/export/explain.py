"""All about one example: what became of it at each stage, and its texts."""

import json
from typing import Any

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.export.reasons import REASONS, STAGE_OF
from tarx_toollog.store.answers import queries
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.spool import Entry, Spool

_MOST = 50  # a prefix that fits more is no name


class Explanation:
    """Looks one example up when everything is decided.

    Args:
        name: The beginning of an example id, of the uid of an exchange, or of a place in a file.
        log: Has the texts of what never became an example.

    Raises:
        ConfigError: There is no name.
    """

    def __init__(self, name: str, log: ToolLog) -> None:
        if not name.strip():
            raise ConfigError("--explain wants an example", hint="give the beginning of an example_id or exchange_uid")
        self._name = name.strip()
        self._log = log
        self._found: list[dict[str, Any]] = []
        self._n_more = 0

    def __call__(self, spool: Spool) -> None:
        """Find what is meant.

        Raises:
            NothingMatchedError: There is none.
        """
        for entry in spool.entries(only_in=False):
            if not self._is_meant(entry):
                continue
            if len(self._found) < _MOST:
                self._found.append(_explained(spool, entry) | self._texts(spool, entry))
            else:
                self._n_more += 1
        if not self._found:
            raise NothingMatchedError(
                f"no example begins with {self._name!r}, and no exchange that was looked at",
                hint="`toollog export why` looks in the builds that were written; `toollog log list` shows exchanges",
            )

    def as_json(self) -> dict[str, Any]:
        """Return what was found, for ``--json``."""
        return {"examples": self._found, "n_more": self._n_more}

    def text(self) -> str:
        """Return what was found, for a terminal."""
        more = [f"and {self._n_more} more: give more of the name"] if self._n_more else []
        return "\n\n".join(["\n".join(_lines(one)) for one in self._found] + more)

    def _is_meant(self, entry: Entry) -> bool:
        place = "" if entry.file is None else f"{entry.file}:{entry.line}"
        learned = (answer.exchange_uid or "" for answer in entry.learned)
        known = ((entry.hash or b"").hex(), entry.exchange_uid or "", place, *learned)
        return any(value.startswith(self._name) for value in known)

    def _texts(self, spool: Spool, entry: Entry) -> dict[str, Any]:
        """Return the texts of the row; or, where it never became one, of the exchange as it was logged."""
        texts: dict[str, Any] = {"texts_from": None, "prompt": None, "answer": None, "tools": [], "schema_errors": []}
        body = spool.body(entry.key)
        if body is not None:
            tools = json.loads(spool.tools_text(entry.tools) or "[]")
            prompt, answer = json.loads(body.prompt), json.loads(body.answer)
            texts |= {"texts_from": "row", "prompt": prompt, "answer": answer, "tools": tools}
        elif entry.exchange_uid is not None:
            texts |= {"texts_from": "log", **_logged(queries.exchange_detail(self._log.engine, entry.exchange_uid))}
        return texts


def _explained(spool: Spool, entry: Entry) -> dict[str, Any]:
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
        "learned": [answer._asdict() for answer in entry.learned],
        "from_file": entry.file,
        "from_line": entry.line,
        "kept_for": entry.registry,
        "split": entry.split,
        "copies": entry.copies,
        "calls": entry.calls,
        "n_tokens": entry.n_tokens,
        "n_trained_tokens": entry.n_trained,
        "tokens_from": entry.tokens_from,
    }


def _logged(detail: queries.ExchangeDetail) -> dict[str, Any]:
    """Return prompt and answer as they were logged, and what the schemas say of the calls."""
    called = [{"function": {"name": call["name"], "arguments": call["arguments"]}} for call in detail.calls]
    content = "" if detail.answer is None else detail.answer["content"] or ""
    return {
        "prompt": [
            {"role": one["role"], "content": one["content"] or "", "tool_calls": _calls(one["extra"])}
            for one in detail.messages
        ],
        "answer": {"role": "assistant", "content": content, "tool_calls": called} if content or called else None,
        "schema_errors": [
            f"{call['name']}: {error}" for call in detail.calls for error in map(str, call["schema_errors"] or ())
        ],
    }


def _calls(extra: Any) -> list[dict[str, Any]]:
    """Return the calls of a logged message, which may be anything."""
    calls = extra.get("tool_calls") if isinstance(extra, dict) else None
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    return [
        {"function": {"name": str(one.get("name")), "arguments": one.get("arguments")}}
        for one in functions
        if isinstance(one, dict)
    ]


def _lines(one: dict[str, Any]) -> list[str]:
    name = one["example_id"] or one["exchange_uid"] or f"{one['from_file']}:{one['from_line']}"
    if one["is_in"]:
        lines = [f"{name} is in: {one['split']}, {one['copies']} × {one['n_tokens']} tokens ({one['tokens_from']})"]
    else:
        lines = [f"{name} is left out by {one['stage']}: {REASONS.get(one['reason'], one['reason'])}"]
    if one["exchange_uid"]:
        lines.append(f"  exchange {one['exchange_uid']}, turn {one['turn_no']}, step {one['step_no']}")
    lines += [f"  schema    {error}" for error in one["schema_errors"]]
    if one["texts_from"] == "log":
        lines.append("  as it was logged, nothing taken out:")
    for message in [*(one["prompt"] or ()), *([one["answer"]] if one["answer"] else ())]:
        lines.append(f"  {message['role']:<9} {message['content']}".rstrip())
        for call in message.get("tool_calls", ()):
            function = call["function"]
            given = function["arguments"]
            arguments = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            lines.append(f"  {'':<9} → {function['name']}({arguments})")
    return lines
