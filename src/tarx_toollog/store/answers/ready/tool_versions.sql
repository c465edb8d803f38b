-- Did a change of a tool's definition change how it is called?
-- group: difficulty
-- read: One row per version of a definition. Two versions of one tool with different bad_share: the change, or
-- what the model had learned, is to blame.
-- limit: 100
SELECT tool, definition, n_parameters, n_required, max_depth, n_enums, definition_tokens, SUM(calls) AS calls,
       SUM(bad_calls) AS bad_calls, ROUND(CAST(SUM(bad_calls) * 1.0 / SUM(calls) AS NUMERIC(18, 4)), 4) AS bad_share
FROM v_tool_complexity
WHERE (:tool = '' OR tool = :tool)
GROUP BY tool, definition, n_parameters, n_required, max_depth, n_enums, definition_tokens
ORDER BY tool, calls DESC, definition
LIMIT :limit
