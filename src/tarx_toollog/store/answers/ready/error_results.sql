-- What do tools say when they fail?
-- group: tools
-- read: One row per tool and beginning of its result. Many calls with one text are one problem.
SELECT tool, SUBSTR(result, 1, 80) AS result_begins, COUNT(*) AS calls, MIN(call_uid) AS example
FROM v_tool_calls
WHERE result_is_error AND called_at >= :since AND (:tool = '' OR tool = :tool)
GROUP BY tool, SUBSTR(result, 1, 80)
ORDER BY calls DESC, tool, result_begins
LIMIT :limit
