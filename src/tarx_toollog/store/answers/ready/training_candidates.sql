-- What would an export take, and why not the rest?
-- group: training
-- read: One row per split and reason; an empty reason is what would be taken. An export may still leave out more:
-- equal rows, long ones, what a scenario holds.
-- limit: 100
SELECT split, COALESCE(reason, '') AS reason, COUNT(*) AS steps, SUM(n_tool_calls) AS tool_calls
FROM v_training_candidates
WHERE started_at >= :since
GROUP BY split, COALESCE(reason, '')
ORDER BY split, steps DESC, 2
LIMIT :limit
