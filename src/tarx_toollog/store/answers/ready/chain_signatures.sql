-- Which chains of calls are there, and how many come to a good end?
-- group: chains
-- read: A chain is all calls of one turn. clean_share: answered, and no call was wrong, failed or was left without
-- a result.
SELECT signature, chain_length, COUNT(*) AS turns, SUM(CASE WHEN status = 'answered' THEN 1 ELSE 0 END) AS answered,
       SUM(is_clean) AS clean, ROUND(CAST(AVG(is_clean * 1.0) AS NUMERIC(18, 4)), 4) AS clean_share,
       ROUND(CAST(AVG(duration_ms) AS NUMERIC(18, 1)), 1) AS mean_duration_ms
FROM v_chains
WHERE started_at >= :since AND (:signature = '' OR SUBSTR(signature, 1, LENGTH(:signature)) = :signature)
GROUP BY signature, chain_length
ORDER BY turns DESC, signature
LIMIT :limit
