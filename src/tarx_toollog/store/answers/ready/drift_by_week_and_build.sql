-- Did a new build change the failures?
-- group: drift
-- read: One row per week and build: where a week has two builds, the difference is theirs and not that of the
-- questions.
-- limit: 100
WITH call AS MATERIALIZED (
    SELECT week, COALESCE(build, model, '') AS build, is_bad, schema_state, argument_state, result_is_error
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT week, build, COUNT(*) AS calls, SUM(is_bad) AS bad_calls,
       SUM(CASE WHEN schema_state = 'fail' THEN 1 ELSE 0 END) AS schema_failures,
       SUM(CASE WHEN argument_state = 'invalid' THEN 1 ELSE 0 END) AS invalid_arguments,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM call
GROUP BY week, build
ORDER BY week DESC, 2
LIMIT :limit
