-- Which build of the model calls tools better?
-- group: drift
-- read: One row per build; where no probe could tell the build, the name of the model. Builds that ran at
-- different times met different questions: a replay compares them on the same ones.
WITH call AS MATERIALIZED (
    SELECT COALESCE(build, model, '') AS build, called_at, is_bad, origin, result_is_error
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT build, MIN(called_at) AS first_called_at, MAX(called_at) AS last_called_at,
       COUNT(*) AS calls, SUM(is_bad) AS bad_calls, SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END) AS error_results,
       SUM(CASE WHEN origin = 'leaked_text' THEN 1 ELSE 0 END) AS leaked,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM call
GROUP BY build
ORDER BY first_called_at, 1
LIMIT :limit
