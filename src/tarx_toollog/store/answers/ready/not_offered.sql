-- Which tools does the model call that were not offered?
-- group: tools
-- read: A name that no request ever offered is made up; one that is offered elsewhere was remembered from the
-- history.
SELECT tool, COUNT(*) AS calls, COUNT(DISTINCT conversation_uid) AS conversations,
       CASE WHEN EXISTS (SELECT 1 FROM tool_definition d WHERE d.name = c.tool)
            THEN 'offered elsewhere' ELSE 'made up' END AS name_is,
       MAX(called_at) AS last_called_at
FROM v_tool_calls c
WHERE NOT offered AND called_at >= :since AND (:tool = '' OR tool = :tool)
GROUP BY tool
ORDER BY calls DESC, tool
LIMIT :limit
