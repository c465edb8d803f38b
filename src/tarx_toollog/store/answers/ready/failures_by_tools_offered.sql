-- Does a longer list of tools make calls worse?
-- group: difficulty
-- read: n_tools is how many tools the request offered.
-- limit: 100
WITH call AS MATERIALIZED (
    SELECT n_tools, is_bad, result_is_error
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT n_tools, COUNT(*) AS calls, SUM(is_bad) AS bad_calls,
       SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END) AS error_results,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM call
GROUP BY n_tools
ORDER BY n_tools
LIMIT :limit
