-- In which way does each tool fail?
-- group: tools
-- read: One row per tool and kind, each failed call once, under the first kind that applies. share is of all
-- failures of that tool.
-- limit: 100
SELECT tool, kind, COUNT(*) AS calls,
       ROUND(CAST(COUNT(*) * 1.0 / SUM(COUNT(*)) OVER (PARTITION BY tool) AS NUMERIC(18, 4)), 4) AS share
FROM (
    SELECT tool, CASE WHEN origin = 'leaked_text' THEN 'leaked'
                WHEN NOT complete OR argument_state = 'incomplete' THEN 'cut off'
                WHEN argument_state = 'invalid' THEN 'invalid JSON'
                WHEN NOT offered THEN 'not offered'
                WHEN schema_state = 'fail' THEN 'breaks its schema'
                WHEN argument_state = 'repaired' THEN 'nearly JSON'
                WHEN result_is_error THEN 'error result' END AS kind
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool) AND (is_bad = 1 OR result_is_error)
) failed
GROUP BY tool, kind
ORDER BY tool, calls DESC, kind
LIMIT :limit
