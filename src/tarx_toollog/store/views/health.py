"""The view that says whether the log can be trusted."""

from tarx_toollog.store.view import View

# What an index can count is counted there: this view is asked often, and of any size of log. Hence the differences, and
# the condition of the index on ``outcome``, which says nothing new.
V_HEALTH = View(
    name="v_health",
    about="One row per figure that says whether the log can be trusted.",
    columns={
        "figure": "What is counted.",
        "value": "The count.",
        "meaning": "What a value above 0 says.",
    },
    select="""
SELECT 'exchanges', (SELECT COUNT(*) FROM exchange) - (SELECT COUNT(*) FROM exchange WHERE run_id IS NOT NULL),
       'live exchanges stored'
UNION ALL
SELECT 'outer', COUNT(DISTINCT outer_exchange_id),
       'inbound exchanges that made others: they are counted beside these'
FROM exchange WHERE outer_exchange_id IS NOT NULL
UNION ALL
SELECT 'open', COUNT(*), 'streams still running, or a process that was just killed'
FROM exchange WHERE outcome = 'open' AND outcome <> 'completed'
UNION ALL
SELECT 'interrupted', COUNT(*), 'the capturing process died before the end'
FROM exchange WHERE outcome = 'interrupted' AND outcome <> 'completed'
UNION ALL
SELECT 'not_completed', COUNT(*), 'exchanges that ended badly: see outcome in v_exchanges'
FROM exchange WHERE outcome <> 'completed' AND outcome <> 'open' AND run_id IS NULL
UNION ALL
SELECT 'unreadable', COUNT(*), 'request bodies that could not be decoded (raw bytes are kept)'
FROM exchange WHERE params IS NULL AND run_id IS NULL
UNION ALL
SELECT 'tool_calls', (SELECT COUNT(*) FROM tool_call)
       - (SELECT COUNT(*) FROM exchange JOIN tool_call ON tool_call.exchange_id = exchange.id
          WHERE exchange.run_id IS NOT NULL), 'tool calls stored'
UNION ALL
SELECT 'calls_without_result', COUNT(*), 'normal for the last call of a dialogue that was left'
FROM v_unmatched WHERE kind = 'call'
UNION ALL
SELECT 'results_without_call', COUNT(*), 'results whose call was made before logging began'
FROM tool_result WHERE tool_call_id IS NULL
UNION ALL
SELECT 'gaps', COALESCE(SUM(n), 0), 'exchanges that capture could not keep: see table gap' FROM gap
""",
)
