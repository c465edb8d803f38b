-- At which step and tool do chains break first?
-- group: chains
-- read: Of each turn the first call that went wrong or failed. turns counts how often that was the place.
SELECT step_no, tool, COUNT(*) AS turns
FROM (
    SELECT tool, step_no, ROW_NUMBER() OVER (PARTITION BY conversation_uid, turn_no ORDER BY step_no, ordinal) AS place
    FROM v_tool_calls
    WHERE (is_bad = 1 OR result_is_error) AND conversation_uid IS NOT NULL AND called_at >= :since AND (:tool = '' OR tool = :tool)
) failed
WHERE place = 1
GROUP BY step_no, tool
ORDER BY turns DESC, step_no, tool
LIMIT :limit
