-- Where did something fall out of the context?
-- group: context
-- read: reported: the server refused because the prompt was too long. suspected: the server counted fewer tokens
-- than were sent, so it dropped some silently. The newest first.
SELECT started_at, truncation, input_tokens, ctx_limit, context_fill, n_messages, n_tools, COALESCE(build, model) AS build,
       exchange_uid
FROM v_context_budget
WHERE truncation IN ('reported', 'suspected') AND started_at >= :since
ORDER BY started_at DESC, exchange_uid DESC
LIMIT :limit
