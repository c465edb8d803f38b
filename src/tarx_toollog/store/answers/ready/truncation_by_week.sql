-- Is truncation becoming more frequent?
-- group: context
-- read: Exchanges by week, with those that were truncated, and those whose context was nearly full (90 % or more).
SELECT week, COUNT(*) AS exchanges, SUM(CASE WHEN truncation = 'reported' THEN 1 ELSE 0 END) AS reported,
       SUM(CASE WHEN truncation = 'suspected' THEN 1 ELSE 0 END) AS suspected,
       SUM(CASE WHEN context_fill >= 0.9 THEN 1 ELSE 0 END) AS nearly_full
FROM v_context_budget
WHERE started_at >= :since
GROUP BY week
ORDER BY week DESC
LIMIT :limit
