-- Do turns come to a good end more often than before?
-- group: drift
-- read: One row per week of turns that called a tool.
SELECT week, COUNT(*) AS turns, ROUND(CAST(AVG(chain_length * 1.0) AS NUMERIC(18, 2)), 2) AS mean_length, ROUND(CAST(AVG(is_clean * 1.0) AS NUMERIC(18, 4)), 4) AS clean_share,
       SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed,
       SUM(CASE WHEN status = 'pending' THEN 1 ELSE 0 END) AS pending
FROM v_chains
WHERE started_at >= :since
GROUP BY week
ORDER BY week DESC
LIMIT :limit
