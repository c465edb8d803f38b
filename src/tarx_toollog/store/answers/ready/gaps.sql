-- What could the log not keep?
-- group: trust
-- read: The loss ledger, newest first: without rows, nothing is missing.
SELECT from_at, to_at, kind, n, detail
FROM gap
WHERE to_at >= :since
ORDER BY from_at DESC, id DESC
LIMIT :limit
