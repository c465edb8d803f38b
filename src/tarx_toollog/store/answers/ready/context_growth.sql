-- How does the context grow with the dialogue?
-- group: context
-- read: Means by turn of the conversation; history_share is what is sent again each time.
-- limit: 50
SELECT turn_no, COUNT(*) AS exchanges, ROUND(CAST(AVG(input_tokens) AS NUMERIC(18, 0)), 0) AS mean_input_tokens,
       ROUND(CAST(AVG(history_share) AS NUMERIC(18, 4)), 4) AS history_share,
       ROUND(CAST(AVG(context_fill) AS NUMERIC(18, 4)), 4) AS mean_fill, MAX(context_fill) AS max_fill
FROM v_context_budget
WHERE started_at >= :since AND turn_no IS NOT NULL
GROUP BY turn_no
ORDER BY turn_no
LIMIT :limit
