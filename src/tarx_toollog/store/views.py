"""The views: the analysts' contract, the same names and columns on SQLite and PostgreSQL.

A view is derived from the tables, so views are not migrated: every upgrade drops and makes them again from
this file and ``replay_views`` (``store.migrate``). Each column has its sentence there; ``docs/schema.md`` is generated
from them.

``exchange.n_inner = 0`` selects the exchanges that the model itself answered. An inbound exchange of a
Workbench that loops over tools on the server's side has inner exchanges, and those hold the calls.
"""

from tarx_toollog.store.replay_views import REPLAY_VIEWS
from tarx_toollog.store.view import View

_SPLIT_SENTENCE = "What its conversation is kept for: train, dev or eval."
_BUILD_SENTENCE = (
    "Build of the model that answered, where a probe could tell: its label, else the name made of its file."
)

V_EXCHANGES = View(
    name="v_exchanges",
    about="One row per exchange of live traffic, with the names instead of the keys.",
    columns={
        "exchange_uid": "Public id.",
        "started_at": "When the request began (UTC).",
        "conversation_uid": "Its conversation.",
        "split": _SPLIT_SENTENCE,
        "conversation_how": "How the conversation was found.",
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1.",
        "leg": "The tap that saw it.",
        "is_outer": "1 for an inbound exchange that made others; the calls are in those.",
        "model": "Model that answered (or was asked for).",
        "build": _BUILD_SENTENCE,
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
        "answer": "Text of the answer.",
    },
    select="""
SELECT e.uid, e.started_at, c.uid, c.split, e.conversation_how, e.turn_no, e.step_no, e.leg,
       CASE WHEN e.n_inner > 0 THEN 1 ELSE 0 END,
       COALESCE(e.response_model, e.request_model), COALESCE(b.label, b.name), b.uid, e.stream, e.outcome,
       e.finish_reason, e.http_status, e.error_type, e.error_text, e.n_messages, e.n_tools, e.n_tool_calls,
       e.input_tokens, e.output_tokens, e.usage_source, e.ctx_limit,
       ROUND(CAST(e.input_tokens * 1.0 / NULLIF(e.ctx_limit, 0) AS NUMERIC), 4),
       e.tool_tokens, e.system_tokens, e.history_tokens, e.new_tokens, e.truncation, e.poisoned,
       e.first_byte_ms, e.total_ms, COALESCE(m.text, m.content)
FROM exchange e
LEFT JOIN conversation c ON c.id = e.conversation_id
LEFT JOIN model_build b ON b.id = e.model_build_id
LEFT JOIN node n ON n.id = e.output_node_id
LEFT JOIN message m ON m.id = n.message_id
WHERE e.run_id IS NULL
""",
)

V_TOOL_CALLS = View(
    name="v_tool_calls",
    about="One row per tool call of live traffic, with its verdicts and its result.",
    columns={
        "call_uid": "Public id of the call: that of the exchange, the choice, and the place among its calls.",
        "exchange_uid": "Exchange whose answer holds it.",
        "conversation_uid": "Its conversation.",
        "split": _SPLIT_SENTENCE,
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1: the depth of the chain at this call.",
        "ordinal": "Position among the calls of the answer, from 0.",
        "called_at": "When the exchange began (UTC).",
        "model": "Model that made the call.",
        "build": _BUILD_SENTENCE,
        "build_uid": "Public id of that build.",
        "tool": "Tool name as the model wrote it.",
        "arguments": "Argument string, verbatim.",
        "arguments_json": "The JSON object that it is or means; NULL when it is none.",
        "argument_state": "ok, empty, repaired, invalid or incomplete.",
        "schema_state": "ok, fail or unchecked, against the schema offered in that request.",
        "schema_errors": "What the schema objects to (JSON list).",
        "offered": "Whether a tool of that name was offered.",
        "complete": "Whether the call came whole.",
        "origin": "native, legacy_function, leaked_text, custom or server_side.",
        "is_bad": "1 when the call itself is wrong: invalid, cut off, not offered, against its schema, or leaked.",
        "quirks": "What the server did that the protocol does not allow (JSON list).",
        "outcome": "How the exchange ended.",
        "result": "What the tool returned; NULL when no result was seen.",
        "result_is_error": "Whether the tool reported a failure; NULL when no result was seen.",
        "match_how": "How the result was paired with the call: id, order, name; NULL when it was not.",
        "latency_ms": "From the end of the call's answer to the request that carried the result.",
        "exec_ms": "How long the tool itself ran, where the program that ran it told; the latest run counts.",
        "exec_error": "Type and text of its failure, where that was told; NULL when it did not fail.",
        "n_tools": "Tools offered in that request.",
        "input_tokens": "Prompt tokens of that request.",
        "context_fill": "Those over the context size, 0–1.",
    },
    select="""
SELECT e.uid || '.' || tc.choice || '.' || tc.ordinal, e.uid, c.uid, c.split, tc.turn_no, tc.step_no, tc.ordinal,
       e.started_at, COALESCE(e.response_model, e.request_model), COALESCE(b.label, b.name), b.uid, tc.name,
       tc.arguments,
       CASE tc.argument_state WHEN 'ok' THEN tc.arguments WHEN 'empty' THEN '{}' ELSE tc.arguments_json END,
       tc.argument_state, tc.schema_state,
       tc.schema_errors, tc.offered, tc.complete, tc.origin,
       CASE WHEN tc.argument_state IN ('ok', 'empty') AND tc.schema_state <> 'fail'
                 AND tc.offered AND tc.complete AND tc.origin <> 'leaked_text' THEN 0 ELSE 1 END,
       tc.quirks, e.outcome, COALESCE(tr.text, m.text, m.content), tr.is_error, tr.match_how, tr.latency_ms,
       tx.exec_ms, CASE WHEN tx.is_error THEN COALESCE(tx.error_type || ': ', '') || COALESCE(tx.error_text, '') END,
       e.n_tools, e.input_tokens, ROUND(CAST(e.input_tokens * 1.0 / NULLIF(e.ctx_limit, 0) AS NUMERIC), 4)
FROM tool_call tc
JOIN exchange e ON e.id = tc.exchange_id
LEFT JOIN model_build b ON b.id = e.model_build_id
LEFT JOIN conversation c ON c.id = tc.conversation_id
LEFT JOIN tool_result tr ON tr.tool_call_id = tc.id
LEFT JOIN message m ON m.id = tr.message_id
LEFT JOIN tool_execution tx ON tx.id = (
    SELECT x.id FROM tool_execution x WHERE x.tool_call_id = tc.id ORDER BY x.started_at DESC, x.id DESC LIMIT 1
)
WHERE e.run_id IS NULL
""",
)

V_CHAINS = View(
    name="v_chains",
    about="One row per turn that called a tool, or tried to: the chain of its calls.",
    columns={
        "conversation_uid": "Conversation.",
        "split": _SPLIT_SENTENCE,
        "turn_no": "Turn, from 1.",
        "started_at": "Start of the turn (UTC).",
        "build": "Build of the model that answered it: of its latest step whose build a probe could tell.",
        "signature": "Tool names in order, joined by >.",
        "chain_length": "Tool calls.",
        "n_steps": "Exchanges with the model.",
        "n_bad_calls": "Calls that were invalid, cut off, not offered, or against their schema.",
        "n_leaked": "Calls that stood in the text, so that nobody could execute them; not in chain_length.",
        "n_error_results": "Calls whose result was an error.",
        "n_unanswered": "Calls without a result.",
        "status": "answered, pending (ends in calls) or failed (did not complete).",
        "is_clean": "1 when it was answered and none of the counts above is more than 0.",
        "duration_ms": "From the first request to the end of the last answer.",
        "user_text": "What the user had said.",
    },
    select="""
SELECT c.uid, c.split, t.turn_no, t.started_at,
       (SELECT COALESCE(b.label, b.name) FROM exchange e JOIN model_build b ON b.id = e.model_build_id
        WHERE e.conversation_id = t.conversation_id AND e.turn_no = t.turn_no
        ORDER BY e.started_at DESC, e.id DESC LIMIT 1),
       t.signature, t.chain_length, t.n_steps, t.n_bad_calls, t.n_leaked,
       t.n_error_results, t.n_unanswered, t.status,
       CASE WHEN t.status = 'answered' AND t.n_bad_calls + t.n_leaked + t.n_error_results + t.n_unanswered = 0
            THEN 1 ELSE 0 END,
       t.duration_ms, COALESCE(m.text, m.content)
FROM turn t
JOIN conversation c ON c.id = t.conversation_id
LEFT JOIN message m ON m.id = t.user_message_id
WHERE t.chain_length + t.n_leaked > 0
""",
)

V_TOOL_STATS = View(
    name="v_tool_stats",
    about="One row per tool, model and build: how often it is called, and what goes wrong.",
    columns={
        "tool": "Tool name.",
        "model": "Model that made the calls.",
        "build": _BUILD_SENTENCE,
        "calls": "Number of calls.",
        "bad_calls": "Calls that were wrong in themselves (the next five, each call counted once).",
        "invalid_arguments": "Calls whose arguments are not a JSON object.",
        "schema_failures": "Calls whose arguments break the schema as offered.",
        "not_offered": "Calls of a tool that was not offered.",
        "incomplete": "Calls that were cut off.",
        "leaked": "Calls that stood in the text instead of being made.",
        "results": "Calls with a result.",
        "error_results": "Results that report a failure.",
        "error_share": "Share of calls that were wrong or came back with an error, 0–1.",
        "mean_latency_ms": "Mean time from call to result.",
        "max_latency_ms": "Longest time from call to result.",
        "first_called_at": "First call (UTC).",
        "last_called_at": "Latest call (UTC).",
    },
    select="""
SELECT tool, model, build, COUNT(*), SUM(is_bad),
       SUM(CASE WHEN argument_state = 'invalid' THEN 1 ELSE 0 END),
       SUM(CASE WHEN schema_state = 'fail' THEN 1 ELSE 0 END),
       SUM(CASE WHEN offered THEN 0 ELSE 1 END),
       SUM(CASE WHEN complete THEN 0 ELSE 1 END),
       SUM(CASE WHEN origin = 'leaked_text' THEN 1 ELSE 0 END),
       COUNT(match_how),
       SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END),
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC), 4),
       ROUND(CAST(AVG(latency_ms) AS NUMERIC), 1), ROUND(CAST(MAX(latency_ms) AS NUMERIC), 1),
       MIN(called_at), MAX(called_at)
FROM v_tool_calls
GROUP BY tool, model, build
""",
)

V_REQUEST_MESSAGES = View(
    name="v_request_messages",
    about="One row per message of each request, in order: the exact input of the model. Filter by exchange_uid.",
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
WITH RECURSIVE path (exchange_id, node_id, is_history) AS (
    SELECT id, system_node_id, 0 FROM exchange WHERE system_node_id IS NOT NULL
    UNION ALL
    SELECT id, input_node_id, 1 FROM exchange WHERE input_node_id IS NOT NULL
    UNION ALL
    SELECT path.exchange_id, node.parent_id, path.is_history
    FROM path JOIN node ON node.id = path.node_id
    WHERE node.parent_id IS NOT NULL
)
SELECT e.uid,
       n.depth + CASE WHEN path.is_history = 1 THEN COALESCE(s.depth + 1, 0) ELSE 0 END,
       m.role, m.content, m.name, m.tool_call_id, m.extra
FROM path
JOIN node n ON n.id = path.node_id
JOIN message m ON m.id = n.message_id
JOIN exchange e ON e.id = path.exchange_id
LEFT JOIN node s ON s.id = e.system_node_id
""",
)

V_HEALTH = View(
    name="v_health",
    about="One row per figure that says whether the log can be trusted.",
    columns={
        "figure": "What is counted.",
        "value": "The count.",
        "meaning": "What a value above 0 says.",
    },
    select="""
SELECT 'exchanges', COUNT(*), 'live exchanges stored' FROM exchange WHERE run_id IS NULL
UNION ALL
SELECT 'outer', COUNT(*), 'inbound exchanges that made others: they are counted beside these'
FROM exchange WHERE n_inner > 0
UNION ALL
SELECT 'open', COUNT(*), 'streams still running, or a process that was just killed'
FROM exchange WHERE outcome = 'open'
UNION ALL
SELECT 'interrupted', COUNT(*), 'the capturing process died before the end' FROM exchange WHERE outcome = 'interrupted'
UNION ALL
SELECT 'not_completed', COUNT(*), 'exchanges that ended badly: see outcome in v_exchanges'
FROM exchange WHERE outcome NOT IN ('completed', 'open') AND run_id IS NULL
UNION ALL
SELECT 'unreadable', COUNT(*), 'request bodies that could not be decoded (raw bytes are kept)'
FROM exchange WHERE params IS NULL AND run_id IS NULL
UNION ALL
SELECT 'tool_calls', COUNT(*), 'tool calls stored'
FROM tool_call JOIN exchange ON exchange.id = tool_call.exchange_id WHERE exchange.run_id IS NULL
UNION ALL
SELECT 'calls_without_result', COUNT(*), 'normal for the last call of a dialogue that was left'
FROM v_tool_calls WHERE match_how IS NULL AND origin NOT IN ('leaked_text', 'server_side')
UNION ALL
SELECT 'results_without_call', COUNT(*), 'results whose call was made before logging began'
FROM tool_result WHERE tool_call_id IS NULL
UNION ALL
SELECT 'gaps', COALESCE(SUM(n), 0), 'exchanges that capture could not keep: see table gap' FROM gap
""",
)

VIEWS = (V_EXCHANGES, V_TOOL_CALLS, V_CHAINS, V_TOOL_STATS, V_REQUEST_MESSAGES, V_HEALTH, *REPLAY_VIEWS)
"""In the order in which they are made: a view may use the ones before it."""
