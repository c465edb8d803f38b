-- Which calls have no result, and which results no call?
-- group: trust
-- read: left is normal: the dialogue ended there. continued means that a result was lost or the client dropped it.
-- no_call: the log began in the middle of a dialogue.
SELECT kind, why, COALESCE(tool, '') AS tool, COUNT(*) AS n, MAX(seen_at) AS last_seen_at, MIN(uid) AS example
FROM v_unmatched
WHERE seen_at >= :since AND (:tool = '' OR tool = :tool)
GROUP BY kind, why, COALESCE(tool, '')
ORDER BY n DESC, kind, why, 3
LIMIT :limit
