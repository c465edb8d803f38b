-- What fills the context?
-- group: context
-- read: Shares of all prompt tokens, by how full the context was: tool definitions, system prompt, earlier messages,
-- and what is new. Tools that take more than the question leave little room for the dialogue.
SELECT COALESCE(fill_band, 'unknown') AS fill_band, COUNT(*) AS exchanges,
       ROUND(CAST(AVG(input_tokens) AS NUMERIC(18, 0)), 0) AS mean_input_tokens,
       ROUND(CAST(SUM(tool_tokens) * 1.0 / SUM(input_tokens) AS NUMERIC(18, 4)), 4) AS tools,
       ROUND(CAST(SUM(system_tokens) * 1.0 / SUM(input_tokens) AS NUMERIC(18, 4)), 4) AS system,
       ROUND(CAST(SUM(history_tokens) * 1.0 / SUM(input_tokens) AS NUMERIC(18, 4)), 4) AS history,
       ROUND(CAST(SUM(new_tokens) * 1.0 / SUM(input_tokens) AS NUMERIC(18, 4)), 4) AS new
FROM v_context_budget
WHERE started_at >= :since
GROUP BY COALESCE(fill_band, 'unknown')
ORDER BY fill_band
LIMIT :limit
