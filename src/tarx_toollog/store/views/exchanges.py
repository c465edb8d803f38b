"""The views on exchanges: each one, those that are steps of a turn, how their context was spent, and what was sent."""

from tarx_toollog.store.view import View
from tarx_toollog.store.views.pieces import (
    ANSWER_OF_E,
    BAND_SENTENCE,
    BUILD_OF_E,
    BUILD_SENTENCE,
    BUILD_UID_OF_E,
    DAY_SENTENCE,
    FILL_BAND_OF_E,
    FILL_OF_E,
    IS_BAD_CALL,
    MODEL_OF_E,
    SPLIT_SENTENCE,
    WEEK_SENTENCE,
    dates,
    share,
)


def _of_client(column: str) -> str:
    outer = f"(SELECT o.{column} FROM exchange o WHERE o.id = e.outer_exchange_id)"  # noqa: S608 - a constant
    return f"COALESCE(e.{column}, {outer})"


V_EXCHANGES = View(
    name="v_exchanges",
    about="One row per exchange of live traffic, with the names instead of the keys.",
    columns={
        "exchange_uid": "Public id.",
        "started_at": "When the request began (UTC).",
        "conversation_uid": "Its conversation.",
        "split": SPLIT_SENTENCE,
        "conversation_how": "How the conversation was found.",
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1.",
        "leg": "The tap that saw it.",
        "is_outer": "1 for an inbound exchange that made others; the calls are in those.",
        "model": "Model that answered (or was asked for).",
        "build": BUILD_SENTENCE,
        "build_uid": "Public id of that build.",
        "stream": "Whether a streamed answer was asked for.",
        "outcome": "How it ended on the wire.",
        "finish_reason": "Why the model stopped.",
        "http_status": "HTTP status.",
        "error_type": "Type of the error.",
        "error_text": "Text of the error.",
        "n_messages": "Messages in the request.",
        "n_tools": "Tools offered.",
        "n_tool_calls": "Tool calls in the answer.",
        "input_tokens": "Prompt tokens.",
        "output_tokens": "Generated tokens.",
        "usage_source": "Where the counts come from: usage, timings, eval_count, or estimated (input_tokens only).",
        "ctx_limit": "Context size of the server in tokens, where it is known.",
        "context_fill": "Prompt tokens over the context size, 0–1; above 1 when the server was sent too much.",
        "tool_tokens": "Share of the prompt tokens that the tool definitions took.",
        "system_tokens": "Share that the system prompt took.",
        "history_tokens": "Share of the messages that earlier exchanges had already.",
        "new_tokens": "Share of the messages that this exchange brought.",
        "truncation": "none, reported or suspected: whether something fell out of the context.",
        "poisoned": "Whether the history holds a call whose arguments are not JSON.",
        "first_byte_ms": "Time to the first byte of the answer.",
        "total_ms": "Time to the end of the answer.",
        "client_kind": "browser or program: what sent it, or the inbound exchange during which it was made.",
        "client_origin": "The site for whose page a browser sent that.",
        "answer": "Text of the answer.",
    },
    select=f"""
SELECT e.uid, e.started_at, c.uid, c.split, e.conversation_how, e.turn_no, e.step_no, e.leg,
       CASE WHEN e.n_inner > 0 THEN 1 ELSE 0 END, {MODEL_OF_E}, {BUILD_OF_E}, {BUILD_UID_OF_E}, e.stream, e.outcome,
       e.finish_reason, e.http_status, e.error_type, e.error_text, e.n_messages, e.n_tools, e.n_tool_calls,
       e.input_tokens, e.output_tokens, e.usage_source, e.ctx_limit, {FILL_OF_E},
       e.tool_tokens, e.system_tokens, e.history_tokens, e.new_tokens, e.truncation, e.poisoned,
       e.first_byte_ms, e.total_ms, {_of_client("client_kind")}, {_of_client("client_origin")}, {ANSWER_OF_E}
FROM exchange e
LEFT JOIN conversation c ON c.id = e.conversation_id
WHERE e.run_id IS NULL
""",  # noqa: S608 - constants
)

_CALLS_OF_E = "FROM tool_call tc WHERE tc.exchange_id = e.id"
_STEPS_DATES = dates("e.started_at")

V_STEPS = View(
    name="v_steps",
    about="One row per step: an exchange that the model itself answered, at its place in a turn. An answer that was "
    "asked for again is a step beside the other.",
    columns={
        "exchange_uid": "Public id of the exchange.",
        "conversation_uid": "Its conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1.",
        "is_last": "1 for the step that the turn ends with, as far as it goes.",
        "started_at": "When the request began (UTC).",
        "day": DAY_SENTENCE,
        "week": WEEK_SENTENCE,
        "model": "Model that answered (or was asked for).",
        "build": BUILD_SENTENCE,
        "outcome": "How it ended on the wire.",
        "finish_reason": "Why the model stopped.",
        "calls": "Names of its calls in order, joined by >; NULL for an answer without any.",
        "n_tool_calls": "Tool calls in the answer.",
        "n_leaked_calls": "Calls that stood in its text instead.",
        "n_bad_calls": "Calls that were wrong in themselves, leaked ones included.",
        "n_error_results": "Calls whose result was an error.",
        "n_tools": "Tools offered.",
        "input_tokens": "Prompt tokens.",
        "output_tokens": "Generated tokens.",
        "context_fill": "Prompt tokens over the context size, 0–1.",
        "truncation": "none, reported or suspected: whether something fell out of the context.",
        "first_byte_ms": "Time to the first byte of the answer.",
        "total_ms": "Time to the end of the answer.",
        "answer": "Text of the answer.",
    },
    select=f"""
SELECT e.uid, c.uid, c.split, e.turn_no, e.step_no, CASE WHEN t.last_exchange_id = e.id THEN 1 ELSE 0 END,
       e.started_at, $day, $week, {MODEL_OF_E}, {BUILD_OF_E}, e.outcome, e.finish_reason, $calls,
       e.n_tool_calls, e.n_leaked_calls,
       CASE WHEN e.n_tool_calls + e.n_leaked_calls = 0 THEN 0 ELSE (SELECT SUM({IS_BAD_CALL}) {_CALLS_OF_E}) END,
       CASE WHEN e.n_tool_calls = 0 THEN 0 ELSE (
           SELECT COUNT(*) FROM tool_call tc JOIN tool_result tr ON tr.tool_call_id = tc.id
           WHERE tc.exchange_id = e.id AND tr.is_error) END,
       e.n_tools, e.input_tokens, e.output_tokens, {FILL_OF_E}, e.truncation, e.first_byte_ms, e.total_ms,
       {ANSWER_OF_E}
FROM exchange e
JOIN conversation c ON c.id = e.conversation_id
LEFT JOIN turn t ON t.conversation_id = e.conversation_id AND t.turn_no = e.turn_no
WHERE e.run_id IS NULL AND e.n_inner = 0 AND e.turn_no IS NOT NULL
""",  # noqa: S608 - constants
    spelled={
        "sqlite": {
            **_STEPS_DATES["sqlite"],
            "calls": f"(SELECT GROUP_CONCAT(name, '>') FROM (SELECT tc.name {_CALLS_OF_E} AND tc.origin <> "  # noqa: S608
            "'leaked_text' ORDER BY tc.choice, tc.ordinal))",
        },
        "postgresql": {
            **_STEPS_DATES["postgresql"],
            "calls": f"(SELECT STRING_AGG(tc.name, '>' ORDER BY tc.choice, tc.ordinal) {_CALLS_OF_E} AND tc.origin <> "
            "'leaked_text')",
        },
    },
)

V_CONTEXT_BUDGET = View(
    name="v_context_budget",
    about="One row per exchange that the model itself answered and whose prompt was counted or estimated: what filled "
    "the context.",
    columns={
        "exchange_uid": "Public id of the exchange.",
        "conversation_uid": "Its conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1.",
        "started_at": "When the request began (UTC).",
        "day": DAY_SENTENCE,
        "week": WEEK_SENTENCE,
        "model": "Model that answered (or was asked for).",
        "build": BUILD_SENTENCE,
        "outcome": "How it ended on the wire.",
        "n_messages": "Messages in the request.",
        "n_tools": "Tools offered.",
        "n_tool_calls": "Tool calls in the answer.",
        "ctx_limit": "Context size of the server in tokens, where it is known.",
        "input_tokens": "Prompt tokens.",
        "context_fill": "Those over the context size, 0–1; above 1 when the server was sent too much.",
        "fill_band": BAND_SENTENCE,
        "free_tokens": "What the context had left for the answer; below 0 when the prompt was too long.",
        "tool_tokens": "Prompt tokens that the tool definitions took.",
        "system_tokens": "Those that the system prompt took.",
        "history_tokens": "Those of the messages that earlier exchanges had already.",
        "new_tokens": "Those of the messages that this exchange brought.",
        "tool_share": "Tool definitions over the prompt, 0–1.",
        "system_share": "System prompt over the prompt, 0–1.",
        "history_share": "Earlier messages over the prompt, 0–1.",
        "new_share": "New messages over the prompt, 0–1.",
        "budget_source": "exact: the server counted the total, and its shares go by length; estimated: the total is "
        "ours.",
        "truncation": "none, reported (the server says that the context was too long) or suspected (it counted fewer "
        "tokens than were sent).",
        "poisoned": "Whether the history holds a call whose arguments are not JSON.",
        "output_tokens": "Generated tokens.",
        "first_byte_ms": "Time to the first byte of the answer.",
        "total_ms": "Time to the end of the answer.",
    },
    select=f"""
SELECT e.uid, c.uid, c.split, e.turn_no, e.step_no, e.started_at, $day, $week, {MODEL_OF_E}, {BUILD_OF_E},
       e.outcome, e.n_messages, e.n_tools, e.n_tool_calls, e.ctx_limit, e.input_tokens, {FILL_OF_E},
       {FILL_BAND_OF_E},
       e.ctx_limit - e.input_tokens, e.tool_tokens, e.system_tokens, e.history_tokens, e.new_tokens,
       {share("e.tool_tokens", "e.input_tokens")}, {share("e.system_tokens", "e.input_tokens")},
       {share("e.history_tokens", "e.input_tokens")}, {share("e.new_tokens", "e.input_tokens")},
       e.budget_source, e.truncation, e.poisoned, e.output_tokens, e.first_byte_ms, e.total_ms
FROM exchange e
LEFT JOIN conversation c ON c.id = e.conversation_id
WHERE e.run_id IS NULL AND e.n_inner = 0 AND e.input_tokens IS NOT NULL
""",  # noqa: S608 - constants
    spelled=_STEPS_DATES,
)

_PATH = """WITH RECURSIVE path (id) AS (
        SELECT {end} UNION ALL SELECT node.parent_id FROM path JOIN node ON node.id = path.id
        WHERE node.parent_id IS NOT NULL)"""
_SYSTEM, _HISTORY = _PATH.format(end="e.system_node_id"), _PATH.format(end="e.input_node_id")

V_REQUEST_MESSAGES = View(
    name="v_request_messages",
    about="One row per message of each request, in order: the exact input of the model. Filter by exchange_uid, which "
    "is quick; all of them at once is the whole log many times over.",
    columns={
        "exchange_uid": "Exchange.",
        "position": "Place in the request, from 0; leading system messages come first.",
        "role": "system, user, assistant, tool …",
        "content": "Text, or the JSON of the content parts.",
        "name": "The name key, if any.",
        "tool_call_id": "For a tool result: wire id of the call that it answers.",
        "extra": "All other keys of the message (JSON), tool calls among them.",
    },
    select="""
SELECT e.uid, n.depth, m.role, m.content, m.name, m.tool_call_id, m.extra
FROM exchange e
CROSS JOIN $system AS path
JOIN node n ON n.id = $id
JOIN message m ON m.id = n.message_id
WHERE e.system_node_id IS NOT NULL
UNION ALL
SELECT e.uid, n.depth + COALESCE((SELECT s.depth + 1 FROM node s WHERE s.id = e.system_node_id), 0),
       m.role, m.content, m.name, m.tool_call_id, m.extra
FROM exchange e
CROSS JOIN $history AS path
JOIN node n ON n.id = $id
JOIN message m ON m.id = n.message_id
WHERE e.input_node_id IS NOT NULL
""",
    # A table function is the one thing in SQLite that may look at the table to its left: the path is walked for the
    # exchanges that are asked for, and no others.
    spelled={
        "sqlite": {
            "system": f"JSON_EACH(({_SYSTEM} SELECT JSON_GROUP_ARRAY(id) FROM path))",  # noqa: S608 - constants
            "history": f"JSON_EACH(({_HISTORY} SELECT JSON_GROUP_ARRAY(id) FROM path))",  # noqa: S608 - constants
            "id": "path.value",
        },
        "postgresql": {
            "system": f"LATERAL ({_SYSTEM} SELECT id FROM path)",  # noqa: S608 - constants
            "history": f"LATERAL ({_HISTORY} SELECT id FROM path)",  # noqa: S608 - constants
            "id": "path.id",
        },
    },
)
