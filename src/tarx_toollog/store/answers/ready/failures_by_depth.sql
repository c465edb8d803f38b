-- At what depth of a chain do calls go wrong?
-- group: difficulty
-- read: step_no counts the answers within a turn: 1 is the first call, 3 comes after two results. Calls in a row
-- of little data swing widely: look at calls, too.
-- limit: 100
WITH call AS MATERIALIZED (
    SELECT step_no, is_bad, result_is_error
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT step_no, COUNT(*) AS calls, SUM(is_bad) AS bad_calls,
       SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END) AS error_results,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM call
GROUP BY step_no
ORDER BY step_no NULLS LAST
LIMIT :limit
