-- What did the latest failures look like?
-- group: tools
-- read: The newest failed calls with arguments, objections and the beginning of the result; `toollog log show`
-- with the exchange shows all of it.
SELECT called_at, tool, arguments, argument_state, schema_state, schema_errors, offered, origin,
       SUBSTR(result, 1, 200) AS result_begins, exchange_uid
FROM v_tool_calls
WHERE (is_bad = 1 OR result_is_error) AND called_at >= :since AND (:tool = '' OR tool = :tool)
ORDER BY called_at DESC, call_uid DESC
LIMIT :limit
