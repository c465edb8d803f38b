-- Are tools with more parameters called worse?
-- group: difficulty
-- read: One row per number of parameters and of required ones, over all tools that have as many.
-- limit: 100
SELECT n_parameters, n_required, COUNT(DISTINCT tool) AS tools, SUM(calls) AS calls, SUM(bad_calls) AS bad_calls,
       SUM(schema_failures) AS schema_failures,
       ROUND(CAST(SUM(bad_calls) * 1.0 / SUM(calls) AS NUMERIC(18, 4)), 4) AS bad_share
FROM v_tool_complexity
WHERE (:tool = '' OR tool = :tool)
GROUP BY n_parameters, n_required
ORDER BY n_parameters, n_required
LIMIT :limit
