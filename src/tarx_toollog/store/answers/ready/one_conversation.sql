-- What happened in one conversation?
-- group: reading
-- read: Its steps in order, with calls and answers. Without a conversation: the latest one.
-- limit: 200
SELECT turn_no, step_no, calls, n_bad_calls, n_error_results, outcome, input_tokens, total_ms,
       SUBSTR(answer, 1, 200) AS answer_begins, exchange_uid
FROM v_steps
WHERE conversation_uid = COALESCE(NULLIF(:conversation, ''), (SELECT uid FROM conversation ORDER BY last_at DESC LIMIT 1))
ORDER BY turn_no, step_no, started_at
LIMIT :limit
