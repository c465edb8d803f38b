-- What exactly did the model read?
-- group: reading
-- read: The messages of one request in order. `toollog log list` shows the exchanges; give the whole id.
-- limit: 500
SELECT position, role, content, tool_call_id, extra
FROM v_request_messages
WHERE exchange_uid = :exchange
ORDER BY position
LIMIT :limit
