"""The views on tool calls: each call, what goes wrong by tool, by how hard a tool is to call, and what is unpaired."""

from tarx_toollog.store.view import View
from tarx_toollog.store.views.pieces import (
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

_LATEST_RUN = "FROM tool_execution x WHERE x.tool_call_id = tc.id ORDER BY x.started_at DESC, x.id DESC LIMIT 1"

V_TOOL_CALLS = View(
    name="v_tool_calls",
    about="One row per tool call of live traffic, with its verdicts and its result.",
    columns={
        "call_uid": "Public id of the call: that of the exchange, the choice, and the place among its calls.",
        "exchange_uid": "Exchange whose answer holds it.",
        "conversation_uid": "Its conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1: the depth of the chain at this call.",
        "ordinal": "Position among the calls of the answer, from 0.",
        "called_at": "When the exchange began (UTC).",
        "day": DAY_SENTENCE,
        "week": WEEK_SENTENCE,
        "model": "Model that made the call.",
        "build": BUILD_SENTENCE,
        "build_uid": "Public id of that build.",
        "tool": "Tool name as the model wrote it.",
        "n_parameters": "Parameters of the tool as offered; NULL when it was not.",
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
        "fill_band": BAND_SENTENCE,
    },
    select=f"""
SELECT e.uid || '.' || tc.choice || '.' || tc.ordinal, e.uid, c.uid, c.split, tc.turn_no, tc.step_no, tc.ordinal,
       e.started_at, $day, $week, {MODEL_OF_E}, {BUILD_OF_E}, {BUILD_UID_OF_E}, tc.name,
       (SELECT d.n_parameters FROM tool_definition d WHERE d.id = tc.tool_definition_id), tc.arguments,
       CASE tc.argument_state WHEN 'ok' THEN tc.arguments WHEN 'empty' THEN '{{}}' ELSE tc.arguments_json END,
       tc.argument_state, tc.schema_state,
       tc.schema_errors, tc.offered, tc.complete, tc.origin, {IS_BAD_CALL},
       tc.quirks, e.outcome,
       COALESCE(tr.text, (SELECT COALESCE(m.text, m.content) FROM message m WHERE m.id = tr.message_id)),
       tr.is_error, tr.match_how, tr.latency_ms,
       (SELECT x.exec_ms {_LATEST_RUN}),
       (SELECT CASE WHEN x.is_error THEN COALESCE(x.error_type || ': ', '') || COALESCE(x.error_text, '') END
        {_LATEST_RUN}),
       e.n_tools, e.input_tokens, {FILL_OF_E},
       {FILL_BAND_OF_E}
FROM tool_call tc
JOIN exchange e ON e.id = tc.exchange_id
LEFT JOIN conversation c ON c.id = tc.conversation_id
LEFT JOIN tool_result tr ON tr.tool_call_id = tc.id
WHERE e.run_id IS NULL
""",  # noqa: S608 - constants
    spelled=dates("e.started_at"),
)

V_TOOL_STATS = View(
    name="v_tool_stats",
    about="One row per tool, model and build: how often it is called, and what goes wrong.",
    columns={
        "tool": "Tool name.",
        "model": "Model that made the calls.",
        "build": BUILD_SENTENCE,
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
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4),
       ROUND(CAST(AVG(latency_ms) AS NUMERIC(18, 1)), 1), ROUND(CAST(MAX(latency_ms) AS NUMERIC(18, 1)), 1),
       MIN(called_at), MAX(called_at)
FROM v_tool_calls
GROUP BY tool, model, build
""",
)

V_TOOL_COMPLEXITY = View(
    name="v_tool_complexity",
    about="One row per version of a tool, build, tools offered and depth: does what is hard go wrong more often? Sum "
    "over what you do not ask about. Calls of tools that were not offered are not in it.",
    columns={
        "tool": "Tool name.",
        "definition": "Content hash of the definition, in hex: another version of a tool has another.",
        "n_parameters": "Its parameters at the top level.",
        "n_required": "Required ones among them.",
        "max_depth": "Nesting depth of its schema; 1 is flat.",
        "n_enums": "Parameters restricted to a list of values.",
        "definition_tokens": "Tokens that the definition takes in a prompt, estimated.",
        "build": BUILD_SENTENCE,
        "n_tools": "Tools that were offered beside it, itself included.",
        "step_no": "Step within the turn, from 1: the depth of the chain.",
        "calls": "Number of calls.",
        "bad_calls": "Calls that were wrong in themselves.",
        "invalid_arguments": "Calls whose arguments are not a JSON object.",
        "schema_failures": "Calls whose arguments break the schema.",
        "error_results": "Calls whose result reports a failure.",
        "bad_share": "Share of calls that were wrong in themselves, 0–1.",
    },
    select=f"""
SELECT d.name, LOWER($hex), d.n_parameters, d.n_required, d.max_depth, d.n_enums, d.n_tokens,
       COALESCE(b.label, b.name), g.n_tools, g.step_no, SUM(g.calls), SUM(g.bad), SUM(g.invalid), SUM(g.failures),
       SUM(g.errors), {share("SUM(g.bad)", "SUM(g.calls)")}
FROM (
    SELECT tc.tool_definition_id, e.model_build_id, e.n_tools, tc.step_no, COUNT(*) AS calls,
           SUM({IS_BAD_CALL}) AS bad,
           SUM(CASE WHEN tc.argument_state = 'invalid' THEN 1 ELSE 0 END) AS invalid,
           SUM(CASE WHEN tc.schema_state = 'fail' THEN 1 ELSE 0 END) AS failures,
           SUM(CASE WHEN tr.is_error THEN 1 ELSE 0 END) AS errors
    FROM tool_call tc
    JOIN exchange e ON e.id = tc.exchange_id
    LEFT JOIN tool_result tr ON tr.tool_call_id = tc.id
    WHERE e.run_id IS NULL AND tc.tool_definition_id IS NOT NULL
    GROUP BY tc.tool_definition_id, e.model_build_id, e.n_tools, tc.step_no
) g
JOIN tool_definition d ON d.id = g.tool_definition_id
LEFT JOIN model_build b ON b.id = g.model_build_id
GROUP BY d.name, d.hash, d.n_parameters, d.n_required, d.max_depth, d.n_enums, d.n_tokens,
         COALESCE(b.label, b.name), g.n_tools, g.step_no
""",  # noqa: S608 - constants
    spelled={"sqlite": {"hex": "HEX(d.hash)"}, "postgresql": {"hex": "ENCODE(d.hash, 'hex')"}},
)

V_UNMATCHED = View(
    name="v_unmatched",
    about="One row per call without a result, and per result without a call. Calls that nobody could execute (leaked) "
    "or that the server executed itself are not in it.",
    columns={
        "kind": "call or result: what there is.",
        "uid": "Public id of the call; for a result that of the exchange whose request carried it.",
        "exchange_uid": "Exchange that holds it.",
        "conversation_uid": "Its conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1.",
        "seen_at": "When that exchange began (UTC).",
        "tool": "Name of the tool, where it is known.",
        "wire_id": "Id of the call on the wire.",
        "why": "left: nothing came after the call; continued: the dialogue went on without its result; not_completed: "
        "the call's answer did not end well; no_call: the call was made before logging began, or edited away.",
    },
    select="""
SELECT 'call', e.uid || '.' || tc.choice || '.' || tc.ordinal, e.uid, c.uid, c.split, tc.turn_no, tc.step_no,
       e.started_at, tc.name, tc.call_id,
       CASE WHEN e.outcome <> 'completed' THEN 'not_completed'
            WHEN EXISTS (SELECT 1 FROM exchange later WHERE later.parent_exchange_id = e.id) THEN 'continued'
            ELSE 'left' END
FROM tool_call tc
JOIN exchange e ON e.id = tc.exchange_id
LEFT JOIN conversation c ON c.id = tc.conversation_id
WHERE e.run_id IS NULL AND tc.origin NOT IN ('leaked_text', 'server_side')
      AND NOT EXISTS (SELECT 1 FROM tool_result tr WHERE tr.tool_call_id = tc.id)
UNION ALL
SELECT 'result', e.uid, e.uid, c.uid, c.split, e.turn_no, e.step_no, e.started_at, tr.name, tr.call_id, 'no_call'
FROM tool_result tr
JOIN exchange e ON e.id = tr.exchange_id
LEFT JOIN conversation c ON c.id = tr.conversation_id
WHERE tr.tool_call_id IS NULL AND e.run_id IS NULL
""",
)
