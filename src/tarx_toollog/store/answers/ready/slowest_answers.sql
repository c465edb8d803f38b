-- How long does the model take, and does it grow with the context?
-- group: time
-- read: Means in milliseconds by how full the context was; first_byte_ms is mostly the reading of the prompt.
SELECT COALESCE(fill_band, 'unknown') AS fill_band, COUNT(*) AS exchanges,
       ROUND(CAST(AVG(input_tokens) AS NUMERIC(18, 0)), 0) AS mean_input_tokens,
       ROUND(CAST(AVG(first_byte_ms) AS NUMERIC(18, 1)), 1) AS mean_first_byte_ms,
       ROUND(CAST(AVG(total_ms) AS NUMERIC(18, 1)), 1) AS mean_total_ms, MAX(total_ms) AS max_total_ms
FROM v_context_budget
WHERE started_at >= :since
GROUP BY COALESCE(fill_band, 'unknown')
ORDER BY fill_band
LIMIT :limit
