-- How do exchanges end?
-- group: trust
-- read: Everything but completed deserves a look; error_type is the server's own word.
SELECT outcome, COALESCE(error_type, '') AS error_type, COUNT(*) AS exchanges, MAX(started_at) AS last_at,
       MIN(exchange_uid) AS example
FROM v_exchanges
WHERE started_at >= :since
GROUP BY outcome, COALESCE(error_type, '')
ORDER BY exchanges DESC, outcome, 2
LIMIT :limit
