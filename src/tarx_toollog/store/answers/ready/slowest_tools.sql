-- Which tools are the slowest?
-- group: time
-- read: Times in milliseconds from the call to the request that brought its result. Half of the calls took at most
-- median_ms, nineteen of twenty at most p95_ms.
WITH timed AS MATERIALIZED (
    SELECT tool, latency_ms
    FROM v_tool_calls
    WHERE latency_ms IS NOT NULL AND called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT tool, COUNT(*) AS calls, ROUND(CAST(AVG(latency_ms) AS NUMERIC(18, 1)), 1) AS mean_ms,
       MIN(CASE WHEN part >= 0.5 THEN latency_ms END) AS median_ms,
       MIN(CASE WHEN part >= 0.95 THEN latency_ms END) AS p95_ms, MAX(latency_ms) AS max_ms
FROM (
    SELECT tool, latency_ms, CUME_DIST() OVER (PARTITION BY tool ORDER BY latency_ms) AS part
    FROM timed
) placed
GROUP BY tool
ORDER BY mean_ms DESC, tool
LIMIT :limit
