-- Is it invalid JSON, a broken schema, or a tool that was not offered?
-- group: tools
-- read: Invalid JSON points to the template or the quantization, a broken schema to the definition or too little
-- training, and a tool that was not offered to a habit of the model. By build of the model.
WITH call AS MATERIALIZED (
    SELECT COALESCE(build, model, '') AS build, argument_state, schema_state, offered
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT build, COUNT(*) AS calls,
       SUM(CASE WHEN argument_state = 'invalid' THEN 1 ELSE 0 END) AS invalid_json,
       SUM(CASE WHEN argument_state = 'repaired' THEN 1 ELSE 0 END) AS nearly_json,
       SUM(CASE WHEN argument_state = 'incomplete' THEN 1 ELSE 0 END) AS cut_off,
       SUM(CASE WHEN schema_state = 'fail' THEN 1 ELSE 0 END) AS breaks_schema,
       SUM(CASE WHEN offered THEN 0 ELSE 1 END) AS not_offered
FROM call
GROUP BY build
ORDER BY calls DESC, 1
LIMIT :limit
