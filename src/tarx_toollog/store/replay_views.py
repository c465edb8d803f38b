"""The views on replay: trials, what went wrong in them, how deep runs go, and two runs side by side.

Only trials that were answered and scored say something about a model; the others are rows too, with NULL for a verdict,
so that nobody takes what was not judged for what was wrong.
"""

from tarx_toollog.store.view import View

_ANSWERED_IN_TEXT = "empty for an answer in text"

# JSON functions refuse a whole document for one NaN, and PostgreSQL's for one NUL or half a character in any string of
# it. What a model said may hold all of these: they are taken out first, or the column is NULL.
_NO_NUMBER = r"([:,[])(?:NaN|-?Infinity)(?=[],}])"
_NO_TEXT = r"(?<!\\)((?:\\\\)*)\\u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2})"
_READABLE = (
    rf"CAST(REGEXP_REPLACE(REGEXP_REPLACE(s.definition, '{_NO_NUMBER}', '\1null', 'g'), '{_NO_TEXT}', '\1\ufffd', 'g') "
    "AS JSON)"
)
_CALLS_OF = "FROM tool_call tc WHERE tc.exchange_id = e.id AND tc.choice = 0 AND tc.origin <> 'leaked_text'"
_DETAIL = "COALESCE(turn.detail, st.detail)"
_HAS_CODE = f"""SUBSTR({_DETAIL}, 1, 9) = '{{"code":"'"""  # JSON functions may refuse what stands behind it

_SPELLED = {
    "sqlite": {
        "code": f"SUBSTR({_DETAIL}, 10, INSTR(SUBSTR({_DETAIL}, 10), '\"') - 1)",
        "called": f"(SELECT GROUP_CONCAT(name, '>') FROM (SELECT tc.name {_CALLS_OF} ORDER BY tc.ordinal))",  # noqa: S608 - constants
        "expected": """CASE WHEN JSON_VALID(s.definition) THEN (
           SELECT COALESCE((SELECT GROUP_CONCAT(JSON_EXTRACT(call.value, '$.name'), '>')
                            FROM JSON_EACH(step.value, '$.expected.calls') call), '')
           FROM JSON_EACH(s.definition, '$.steps') step
           WHERE JSON_EXTRACT(step.value, '$.step_no') = t.step_no LIMIT 1) END""",
    },
    "postgresql": {
        "code": f"""SUBSTRING({_DETAIL} FROM '^{{"code":"([^"]*)"')""",
        "called": f"(SELECT STRING_AGG(tc.name, '>' ORDER BY tc.ordinal) {_CALLS_OF})",
        "expected": f"""(
           SELECT COALESCE((SELECT STRING_AGG(call.value ->> 'name', '>' ORDER BY call.ordinality)
                            FROM JSON_ARRAY_ELEMENTS(step.value #> '{{expected,calls}}') WITH ORDINALITY call), '')
           FROM JSON_ARRAY_ELEMENTS({_READABLE} -> 'steps') step
           WHERE CAST(step.value ->> 'step_no' AS INTEGER) = t.step_no LIMIT 1)""",  # noqa: S608 - constants
    },
}


def _verdict(alias: str) -> str:
    return f"CASE WHEN {alias}.value IS NULL THEN NULL WHEN {alias}.value = 1 THEN 1 ELSE 0 END"


V_REPLAY_TRIALS = View(
    name="v_replay_trials",
    about="One row per trial of a replay run: what was expected, what came, and the verdicts.",
    columns={
        "trial_id": "Internal key; rises in the order in which the answers came.",
        "run": "Name of the run.",
        "mode": "teacher_forced or closed_loop.",
        "suite": "Tag of the scenarios that it replays.",
        "model": "Model that was asked.",
        "scenario_uid": "Public id of the scenario.",
        "tier": "Trust in what the scenario expects: gold, silver, corrected or bronze.",
        "weight": "Turns of the log that the scenario stands for.",
        "conversation_uid": "Conversation that the scenario was frozen from.",
        "turn_no": "Turn that it was frozen from.",
        "n_steps": "Steps of the scenario that are asked.",
        "signature": "Names of the calls that the whole scenario expects, joined by >.",
        "step_no": "Step of the turn, from 1.",
        "attempt": "Repetition, from 1. Shares count the first alone.",
        "status": "ok (answered), model_error (the model's doing) or infra_error (says nothing about the model).",
        "is_right": "1 when the decision is right (standard), 0 when it is wrong, NULL when it was not judged.",
        "is_right_strict": "The same, where arguments must be the same JSON.",
        "is_right_lenient": "The same, where what a patient tool would take is forgiven.",
        "is_chain_right": "In a closed loop, on the last trial of a turn: 1 right, 0 wrong, NULL undetermined.",
        "code": "What went wrong first (docs/replay-reference.md), in the turn, else in the step; NULL: nothing.",
        "expected": f"Names of the calls that the step expects, joined by >; {_ANSWERED_IN_TEXT}; NULL: unreadable.",
        "called": f"Names of the calls that were made, joined by >; {_ANSWERED_IN_TEXT}; NULL when nothing answered.",
        "exchange_uid": "The exchange that was made; NULL when nothing answered.",
        "outcome": "How that ended on the wire.",
        "input_tokens": "Its prompt tokens.",
        "output_tokens": "Its generated tokens.",
        "total_ms": "Time to the end of its answer.",
        "error": "What the server or the network said, where it failed.",
        "asked_at": "When the trial was recorded (UTC).",
    },
    select=f"""
SELECT t.id, r.name, r.mode, r.tag, r.model, s.uid, s.tier, s.weight, s.conversation_uid, s.turn_no, s.n_steps,
       s.signature, t.step_no, t.attempt, t.status,
       {_verdict("st")}, {_verdict("strict")}, {_verdict("lenient")},
       {_verdict("turn")}, CASE WHEN {_HAS_CODE} THEN $code END,
       $expected,
       CASE WHEN e.id IS NULL THEN NULL ELSE COALESCE($called, '') END,
       e.uid, e.outcome, e.input_tokens, e.output_tokens, e.total_ms, COALESCE(t.error, e.error_text), t.created_at
FROM trial t
JOIN run r ON r.id = t.run_id
JOIN scenario s ON s.id = t.scenario_id
LEFT JOIN exchange e ON e.id = t.exchange_id
LEFT JOIN score st ON st.trial_id = t.id AND st.scorer = 'step'
LEFT JOIN score strict ON strict.trial_id = t.id AND strict.scorer = 'step_strict'
LEFT JOIN score lenient ON lenient.trial_id = t.id AND lenient.scorer = 'step_lenient'
LEFT JOIN score turn ON turn.trial_id = t.id AND turn.scorer = 'chain'
""",  # noqa: S608 - constants
    spelled=_SPELLED,
)

V_REPLAY_FAILURES = View(
    name="v_replay_failures",
    about="One row per trial whose decision, or whose turn in a closed loop, is wrong, with everything that was found.",
    columns={
        **{
            name: V_REPLAY_TRIALS.columns[name]
            for name in ("trial_id", "run", "suite", "model", "scenario_uid", "conversation_uid", "turn_no", "step_no",
                         "attempt")
        },
        "code": "What went wrong first (docs/replay-reference.md).",
        "expected": V_REPLAY_TRIALS.columns["expected"],
        "called": V_REPLAY_TRIALS.columns["called"],
        "is_right_lenient": "1 when a patient tool would have taken it.",
        "detail": "All findings, each with its code, its place and its values (JSON).",
        "exchange_uid": V_REPLAY_TRIALS.columns["exchange_uid"],
    },
    select="""
SELECT v.trial_id, v.run, v.suite, v.model, v.scenario_uid, v.conversation_uid, v.turn_no, v.step_no, v.attempt,
       v.code, v.expected, v.called, v.is_right_lenient, COALESCE(turn.detail, st.detail), v.exchange_uid
FROM v_replay_trials v
LEFT JOIN score st ON st.trial_id = v.trial_id AND st.scorer = 'step'
LEFT JOIN score turn ON turn.trial_id = v.trial_id AND turn.scorer = 'chain'
WHERE v.is_right = 0 OR v.is_chain_right = 0
""",
)  # fmt: skip

V_REPLAY_DEPTH = View(
    name="v_replay_depth",
    about="One row per run and step of the turn: how often it is right that deep. First attempts alone.",
    columns={
        "run": "Name of the run.",
        "suite": "Tag of the scenarios that it replays.",
        "model": "Model that was asked.",
        "step_no": "Step of the turn, from 1.",
        "asked": "Steps that were asked.",
        "judged": "Those of them that have a verdict.",
        "n_right": "Those of these that are right (standard).",
        "share": "Right ones of the judged ones, 0–1; each step counts once, whatever its weight.",
    },
    select="""
SELECT run, suite, model, step_no, COUNT(*), COUNT(is_right), COALESCE(SUM(is_right), 0),
       ROUND(CAST(AVG(is_right * 1.0) AS NUMERIC), 4)
FROM v_replay_trials
WHERE attempt = 1
GROUP BY run, suite, model, step_no
""",
)

V_REPLAY_COMPARE = View(
    name="v_replay_compare",
    about="One row per step and pair of runs of one suite that were both judged on it: not those of a closed loop.",
    columns={
        "suite": "Tag of the scenarios.",
        "first_run": "Name of one run.",
        "second_run": "Name of the other. Each pair is there in both orders.",
        "scenario_uid": "Public id of the scenario.",
        "conversation_uid": "Conversation that it was frozen from.",
        "turn_no": "Turn that it was frozen from.",
        "step_no": "Step of the turn, from 1.",
        "right_in": "Which of them decided right: both, first, second or neither.",
        "expected": V_REPLAY_TRIALS.columns["expected"],
        "first_called": "Names of the calls that the first made.",
        "second_called": "Names of the calls that the second made.",
        "first_code": "What went wrong in the first.",
        "second_code": "What went wrong in the second.",
        "first_exchange_uid": "The exchange of the first.",
        "second_exchange_uid": "The exchange of the second.",
    },
    select="""
SELECT a.suite, a.run, b.run, a.scenario_uid, a.conversation_uid, a.turn_no, a.step_no,
       CASE WHEN a.is_right = 1 AND b.is_right = 1 THEN 'both' WHEN a.is_right = 1 THEN 'first'
            WHEN b.is_right = 1 THEN 'second' ELSE 'neither' END,
       a.expected, a.called, b.called, a.code, b.code, a.exchange_uid, b.exchange_uid
FROM v_replay_trials a
JOIN v_replay_trials b ON b.suite = a.suite AND b.scenario_uid = a.scenario_uid AND b.step_no = a.step_no
WHERE a.run <> b.run AND a.attempt = 1 AND b.attempt = 1 AND a.is_right IS NOT NULL AND b.is_right IS NOT NULL
""",
)

REPLAY_VIEWS = (V_REPLAY_TRIALS, V_REPLAY_FAILURES, V_REPLAY_DEPTH, V_REPLAY_COMPARE)
"""In the order in which they are made."""
