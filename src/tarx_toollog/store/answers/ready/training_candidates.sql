-- What would an export take, and why not the rest?
-- group: training
-- read: One row per split and reason; an empty reason is what would be taken. An export may still leave out more:
-- equal rows, long ones, what a scenario holds.
-- limit: 100
WITH step AS MATERIALIZED (
    SELECT split, COALESCE(reason, '') AS reason, n_tool_calls
    FROM v_training_candidates
    WHERE started_at >= :since
)
SELECT split, reason, COUNT(*) AS steps, SUM(n_tool_calls) AS tool_calls
FROM step
GROUP BY split, reason
ORDER BY split, steps DESC, 2
LIMIT :limit
