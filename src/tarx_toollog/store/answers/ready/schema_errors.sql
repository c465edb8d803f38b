-- What do the schemas object to?
-- group: tools
-- read: One row per tool and list of objections (JSON); the most frequent is the first to mend, in the definition
-- or in the training.
SELECT tool, schema_errors, COUNT(*) AS calls, MIN(call_uid) AS example
FROM v_tool_calls
WHERE schema_state = 'fail' AND called_at >= :since AND (:tool = '' OR tool = :tool)
GROUP BY tool, schema_errors
ORDER BY calls DESC, tool, schema_errors
LIMIT :limit
