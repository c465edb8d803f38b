-- How long do the tools themselves run?
-- group: time
-- read: Only runs that the Workbench reported. exec_ms is the tool alone; waiting_ms is what passed besides, until the
-- result was sent to the model.
SELECT x.name AS tool, COUNT(*) AS runs, ROUND(CAST(AVG(x.exec_ms) AS NUMERIC(18, 1)), 1) AS mean_exec_ms,
       MAX(x.exec_ms) AS max_exec_ms, ROUND(CAST(AVG(r.latency_ms - x.exec_ms) AS NUMERIC(18, 1)), 1) AS mean_waiting_ms,
       SUM(CASE WHEN x.is_error THEN 1 ELSE 0 END) AS failed_runs
FROM tool_execution x
LEFT JOIN tool_result r ON r.tool_call_id = x.tool_call_id
WHERE x.started_at >= :since AND (:tool = '' OR x.name = :tool)
GROUP BY x.name
ORDER BY mean_exec_ms DESC, tool
LIMIT :limit
