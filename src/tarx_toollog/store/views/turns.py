"""The views on turns: each one, and those that called a tool as chains."""

from tarx_toollog.store.view import View
from tarx_toollog.store.views.pieces import (
    ANSWER_OF_E,
    DAY_SENTENCE,
    FILL_OF_E,
    SPLIT_SENTENCE,
    WEEK_SENTENCE,
    dates,
)

_BUILD_SENTENCE = "Build of the model that answered it: of its latest step whose build a probe could tell."
_BUILD_OF_T = """(SELECT COALESCE(b.label, b.name) FROM exchange e JOIN model_build b ON b.id = e.model_build_id
        WHERE e.conversation_id = t.conversation_id AND e.turn_no = t.turn_no
        ORDER BY e.started_at DESC, e.id DESC LIMIT 1)"""
_IS_CLEAN = """CASE WHEN t.status = 'answered' AND t.n_bad_calls + t.n_leaked + t.n_error_results + t.n_unanswered = 0
            THEN 1 ELSE 0 END"""
_USER_TEXT = "(SELECT COALESCE(m.text, m.content) FROM message m WHERE m.id = t.user_message_id)"

_COUNTS = {
    "signature": "Tool names in order, joined by >; empty for a turn without calls.",
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
}

V_TURNS = View(
    name="v_turns",
    about="One row per turn: one message of the user up to the final answer, with calls or without.",
    columns={
        "conversation_uid": "Conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn, from 1.",
        "started_at": "Start of the turn (UTC).",
        "day": DAY_SENTENCE,
        "week": WEEK_SENTENCE,
        "build": _BUILD_SENTENCE,
        **_COUNTS,
        "last_exchange_uid": "Exchange that it ends with, as far as it goes.",
        "outcome": "How that exchange ended on the wire.",
        "n_tools": "Tools offered in it.",
        "input_tokens": "Its prompt tokens: the turn with all that came before.",
        "context_fill": "Those over the context size, 0–1.",
        "truncation": "none, reported or suspected: whether something fell out of its context.",
        "answer": "Text of its answer.",
    },
    select=f"""
SELECT c.uid, c.split, t.turn_no, t.started_at, $day, $week, {_BUILD_OF_T},
       t.signature, t.chain_length, t.n_steps, t.n_bad_calls, t.n_leaked, t.n_error_results, t.n_unanswered, t.status,
       {_IS_CLEAN}, t.duration_ms, {_USER_TEXT},
       e.uid, e.outcome, e.n_tools, e.input_tokens, {FILL_OF_E}, e.truncation, {ANSWER_OF_E}
FROM turn t
JOIN conversation c ON c.id = t.conversation_id
LEFT JOIN exchange e ON e.id = t.last_exchange_id
""",  # noqa: S608 - constants
    spelled=dates("t.started_at"),
)

V_CHAINS = View(
    name="v_chains",
    about="One row per turn that called a tool, or tried to: the chain of its calls.",
    columns={
        "conversation_uid": "Conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn, from 1.",
        "started_at": "Start of the turn (UTC).",
        "week": WEEK_SENTENCE,
        "build": _BUILD_SENTENCE,
        **_COUNTS,
    },
    select=f"""
SELECT c.uid, c.split, t.turn_no, t.started_at, $week, {_BUILD_OF_T},
       t.signature, t.chain_length, t.n_steps, t.n_bad_calls, t.n_leaked, t.n_error_results, t.n_unanswered, t.status,
       {_IS_CLEAN}, t.duration_ms, {_USER_TEXT}
FROM turn t
JOIN conversation c ON c.id = t.conversation_id
WHERE t.chain_length + t.n_leaked > 0
""",  # noqa: S608 - constants
    spelled=dates("t.started_at"),
)
