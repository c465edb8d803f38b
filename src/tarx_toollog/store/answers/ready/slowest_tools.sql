-- Which tools are the slowest?
-- group: time
-- read: Times in milliseconds from the call to the request that brought its result. Half of the calls took at most
-- median_ms, nineteen of twenty at most p95_ms.
SELECT tool, COUNT(*) AS calls, ROUND(CAST(AVG(latency_ms) AS NUMERIC(18, 1)), 1) AS mean_ms,
       MIN(CASE WHEN part >= 0.5 THEN latency_ms END) AS median_ms,
       MIN(CASE WHEN part >= 0.95 THEN latency_ms END) AS p95_ms, MAX(latency_ms) AS max_ms
FROM (
    SELECT tc.name AS tool, tr.latency_ms, CUME_DIST() OVER (PARTITION BY tc.name ORDER BY tr.latency_ms) AS part
    FROM tool_result tr
    JOIN tool_call tc ON tc.id = tr.tool_call_id
    JOIN exchange e ON e.id = tc.exchange_id
    WHERE tr.latency_ms IS NOT NULL AND e.run_id IS NULL AND e.started_at >= :since AND (:tool = '' OR tc.name = :tool)
) timed
GROUP BY tool
ORDER BY mean_ms DESC, tool
LIMIT :limit
