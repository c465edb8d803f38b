-- Which conversations carry a broken call in their history?
-- group: context
-- read: A model that reads its own malformed call repeats it, and some servers refuse such a history.
SELECT conversation_uid, COUNT(*) AS exchanges, SUM(CASE WHEN outcome = 'completed' THEN 0 ELSE 1 END) AS not_completed,
       MIN(started_at) AS first_at, MAX(started_at) AS last_at
FROM v_context_budget
WHERE poisoned AND started_at >= :since
GROUP BY conversation_uid
ORDER BY exchanges DESC, conversation_uid
LIMIT :limit
