-- How far do chains get that begin like this one?
-- group: chains
-- read: All turns whose calls begin with the tools named; the last columns say how the turn ended. Shorter chains
-- than the one that you want are those that stopped on the way.
-- signature: tarx_recall
SELECT signature, status, COUNT(*) AS turns, SUM(is_clean) AS clean, SUM(n_bad_calls) AS bad_calls,
       SUM(n_error_results) AS error_results, SUM(n_unanswered) AS unanswered
FROM v_chains
WHERE SUBSTR(signature, 1, LENGTH(:signature)) = :signature AND started_at >= :since
GROUP BY signature, status
ORDER BY turns DESC, signature, status
LIMIT :limit
