"""The view on what could be learned: each step of the log, with the reason why an export would leave it out.

It says what SQL alone can say. An export that asks for nothing else takes no step that this view refuses; it may refuse
more: equal rows, long ones, what a scenario holds. The reasons are those of ``export``, in the order of its gate.

A reason takes several look-ups. SQLite works it out again at each place where a query names it, so who groups by it
materializes it first, as the ready queries do.
"""

from tarx_toollog.store.view import View
from tarx_toollog.store.views.pieces import BUILD_OF_E, BUILD_SENTENCE, SPLIT_SENTENCE

_NO_WORDS = """REPLACE(l.correction, ' ', '') IN ('{"answer":true}', '{"ask":true}')"""
_IS_BAD = """(l.correction IS NOT NULL OR l.value_num < 0
        OR LOWER(TRIM(l.value_text)) IN ('bad', 'wrong', 'incorrect', 'no'))"""
# Against an answer in text it says nothing that an answer in text would have been right.
_IS_PRAISE = """(x.n_tool_calls + x.n_leaked_calls = 0 AND l.correction IS NOT NULL
        AND REPLACE(l.correction, ' ', '') = '{"answer":true}')"""


def _labelled(condition: str, *, whole: bool = False) -> str:
    """Return the SELECT of the exchanges that have such a label in force, on themselves or on a call.

    Labels are few: they are read first, and once.

    Args:
        condition: On label ``l`` and exchange ``x``.
        whole: Whether one on the whole conversation counts, too.
    """
    on_itself = f"""SELECT x.id FROM label l
        JOIN exchange x ON x.uid = CASE l.target_type WHEN 'tool_call' THEN SUBSTR(l.target_uid, 1, 36)
                                                      ELSE l.target_uid END
        WHERE l.target_type IN ('exchange', 'tool_call') AND l.superseded_by_id IS NULL AND {condition}"""  # noqa: S608
    on_conversation = f"""
        UNION ALL SELECT x.id FROM label l JOIN conversation k ON k.uid = l.target_uid
        JOIN exchange x ON x.conversation_id = k.id
        WHERE l.target_type = 'conversation' AND l.superseded_by_id IS NULL AND {condition}"""  # noqa: S608 - constants
    return on_itself + (on_conversation if whole else "")


# What the gate asks of each call, in its order.
_CALL_REASONS = (
    ("incomplete_call", "NOT tc.complete"),
    ("not_native_call", "tc.origin <> 'native'"),
    ("invalid_arguments", "tc.argument_state NOT IN ('ok', 'empty')"),
    ("tool_not_offered", "NOT tc.offered"),
    ("schema_failure", "tc.schema_state = 'fail'"),
    ("error_result", "tr.is_error"),
)
# The least of texts that begin with the place of a call and of a reason: to sort the calls of each answer takes longer.
_PLACE = "CASE WHEN tc.origin = 'leaked_text' THEN '1' ELSE '0' END || CAST(1000000 + tc.ordinal AS TEXT)"
_CALL_REASON = f"""SUBSTR((
             SELECT MIN({_PLACE} || CASE {
    " ".join(f"WHEN {check} THEN '{place}{reason}'" for place, (reason, check) in enumerate(_CALL_REASONS))
} END)
             FROM tool_call tc LEFT JOIN tool_result tr ON tr.tool_call_id = tc.id
             WHERE tc.exchange_id = e.id AND tc.choice = 0 AND ({" OR ".join(check for _, check in _CALL_REASONS)})
         ), 10)"""  # noqa: S608 - constants
# What a turn without a failure may still hold, which is most turns: a shorter way to the same answer.
_NOT_NATIVE = """CASE
             WHEN e.id IN (SELECT tc.exchange_id FROM tool_call tc WHERE tc.choice = 0 AND tc.origin <> 'native')
             THEN 'not_native_call' END"""

_REASON = f"""CASE
         WHEN c.split = 'eval' THEN 'eval_conversation'
         WHEN e.id <> t.last_exchange_id
              AND NOT EXISTS (SELECT 1 FROM exchange child WHERE child.parent_exchange_id = e.id) THEN 'no_step'
         WHEN e.id IN ({_labelled("l.correction IS NOT NULL")})
              AND e.id NOT IN ({_labelled(_NO_WORDS)}) THEN NULL
         WHEN e.outcome <> 'completed' THEN 'not_completed'
         WHEN e.id IN (SELECT ch.exchange_id FROM choice ch WHERE ch.choice > 0) THEN 'several_answers'
         WHEN e.finish_reason IN ('length', 'content_filter') THEN 'cut_by_length'
         WHEN e.output_node_id IS NULL THEN 'no_answer'
         WHEN e.truncation IN ('reported', 'suspected') THEN 'truncated_context'
         ELSE COALESCE(
             CASE WHEN e.n_tool_calls + e.n_leaked_calls = 0 THEN NULL
                  WHEN t.n_bad_calls + t.n_leaked + t.n_error_results > 0 THEN {_CALL_REASON}
                  ELSE {_NOT_NATIVE} END,
             CASE WHEN e.id IN ({_labelled(f"{_IS_BAD} AND NOT {_IS_PRAISE}", whole=True)}) THEN 'labelled_bad'
                  WHEN e.poisoned THEN 'history_arguments' END)
       END"""  # noqa: S608 - constants

V_TRAINING_CANDIDATES = View(
    name="v_training_candidates",
    about="One row per step of the log: would an export take it for training, as far as SQL can say, and if not, why?",
    columns={
        "exchange_uid": "Public id of the exchange.",
        "conversation_uid": "Its conversation.",
        "split": SPLIT_SENTENCE,
        "turn_no": "Turn within the conversation, from 1.",
        "step_no": "Step within the turn, from 1.",
        "started_at": "When the request began (UTC).",
        "build": BUILD_SENTENCE,
        "signature": "Names of the calls of its turn, joined by >; empty for a turn without calls.",
        "n_tool_calls": "Tool calls in the answer.",
        "is_corrected": "1 when somebody wrote a better answer: that is learned instead.",
        "is_candidate": "1 when an export would take it, as far as SQL can say.",
        "reason": "Why it is none, in the words of the export (docs/export.md): the first that applies.",
    },
    select=f"""
SELECT s.exchange_uid, s.conversation_uid, s.split, s.turn_no, s.step_no, s.started_at, s.build, s.signature,
       s.n_tool_calls, s.is_corrected, CASE WHEN s.reason IS NULL THEN 1 ELSE 0 END, s.reason
FROM (
SELECT e.uid AS exchange_uid, c.uid AS conversation_uid, c.split, e.turn_no, e.step_no, e.started_at,
       {BUILD_OF_E} AS build, t.signature, e.n_tool_calls,
       CASE WHEN e.id IN ({_labelled("l.correction IS NOT NULL")})
                 AND e.id NOT IN ({_labelled(_NO_WORDS)}) THEN 1 ELSE 0 END AS is_corrected,
       {_REASON} AS reason
FROM exchange e
JOIN conversation c ON c.id = e.conversation_id
JOIN turn t ON t.conversation_id = e.conversation_id AND t.turn_no = e.turn_no
WHERE e.run_id IS NULL AND e.n_inner = 0
) s
""",  # noqa: S608 - constants
)
