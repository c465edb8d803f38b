-- Can the log be trusted?
-- group: trust
-- read: Figures of the whole log, with what a value above 0 says.
-- limit: 50
SELECT figure, value, meaning
FROM v_health
LIMIT :limit
