-- Do longer chains fail more often?
-- group: chains
-- read: One row per number of calls in a turn; 0 is a turn in which the only calls leaked into the text.
-- limit: 100
SELECT chain_length, COUNT(*) AS turns, SUM(is_clean) AS clean, ROUND(CAST(AVG(is_clean * 1.0) AS NUMERIC(18, 4)), 4) AS clean_share,
       SUM(n_bad_calls) AS bad_calls, SUM(n_error_results) AS error_results
FROM v_chains
WHERE started_at >= :since
GROUP BY chain_length
ORDER BY chain_length
LIMIT :limit
