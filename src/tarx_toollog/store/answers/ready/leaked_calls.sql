-- Which calls leaked into the text of answers?
-- group: tools
-- read: Nobody executes such a call: the server did not recognise it. Many of one build mean that template and
-- parser do not fit, before the model is to blame.
SELECT tool, COALESCE(build, model, '') AS build, COUNT(*) AS leaked, COUNT(DISTINCT conversation_uid) AS conversations,
       MIN(exchange_uid) AS example
FROM v_tool_calls
WHERE origin = 'leaked_text' AND called_at >= :since AND (:tool = '' OR tool = :tool)
GROUP BY tool, COALESCE(build, model, '')
ORDER BY leaked DESC, tool, 2
LIMIT :limit
