-- What did people, rules and models say?
-- group: training
-- read: Labels in force, by name and who gave them. corrections are those that say what would have been right.
SELECT name, annotator_kind, annotator, target_type, COUNT(*) AS labels,
       SUM(CASE WHEN value_num > 0 THEN 1 ELSE 0 END) AS good, SUM(CASE WHEN value_num < 0 THEN 1 ELSE 0 END) AS bad,
       COUNT(correction) AS corrections, MAX(created_at) AS last_at
FROM label
WHERE superseded_by_id IS NULL AND created_at >= :since
GROUP BY name, annotator_kind, annotator, target_type
ORDER BY labels DESC, name, annotator, target_type
LIMIT :limit
