-- Which turns made the most calls?
-- group: chains
-- read: The deepest chains of the log, to be read with `toollog conversations show`.
SELECT chain_length, n_steps, signature, status, is_clean, SUBSTR(user_text, 1, 80) AS user_begins, conversation_uid, turn_no
FROM v_chains
WHERE started_at >= :since
ORDER BY chain_length DESC, started_at DESC, conversation_uid
LIMIT :limit
