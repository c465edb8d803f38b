-- Of which chains are there enough examples?
-- group: training
-- read: Steps that would be taken for training, by the chain of their turn. Chains with few are what the model
-- will not learn.
-- limit: 50
WITH step AS MATERIALIZED (
    SELECT signature, conversation_uid
    FROM v_training_candidates
    WHERE is_candidate = 1 AND split = 'train' AND started_at >= :since
)
SELECT signature, COUNT(*) AS steps, COUNT(DISTINCT conversation_uid) AS conversations
FROM step
GROUP BY signature
ORDER BY steps DESC, signature
LIMIT :limit
