-- At what fill of the context do calls go wrong?
-- group: difficulty
-- read: fill_band is the prompt over the size of the context; unknown where the server did not tell its size.
-- limit: 100
SELECT COALESCE(fill_band, 'unknown') AS fill_band, COUNT(*) AS calls, SUM(is_bad) AS bad_calls,
       SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END) AS error_results,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM v_tool_calls
WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
GROUP BY COALESCE(fill_band, 'unknown')
ORDER BY 1
LIMIT :limit
