-- Do calls get better or worse from week to week?
-- group: drift
-- read: One row per week, the newest first. Compare error_share between weeks with enough calls.
WITH call AS MATERIALIZED (
    SELECT week, is_bad, origin, result_is_error
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT week, COUNT(*) AS calls, SUM(is_bad) AS bad_calls,
       SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END) AS error_results,
       SUM(CASE WHEN origin = 'leaked_text' THEN 1 ELSE 0 END) AS leaked,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM call
GROUP BY week
ORDER BY week DESC
LIMIT :limit
