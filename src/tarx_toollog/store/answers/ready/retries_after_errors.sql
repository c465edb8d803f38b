-- Does the model try again after a failure, and does that help?
-- group: chains
-- read: Of the failed calls: how many were followed by a call of the same tool later in the turn, and of how many
-- the last such call went well.
WITH failed AS MATERIALIZED (
    SELECT f.tool, (
        SELECT CASE WHEN a.is_bad = 1 OR a.result_is_error THEN 1 ELSE 0 END
        FROM v_tool_calls a
        WHERE a.conversation_uid = f.conversation_uid AND a.turn_no = f.turn_no AND a.tool = f.tool
              AND a.step_no > f.step_no
        ORDER BY a.step_no DESC, a.ordinal DESC
        LIMIT 1
    ) AS last_try
    FROM v_tool_calls f
    WHERE (f.is_bad = 1 OR f.result_is_error) AND f.called_at >= :since AND (:tool = '' OR f.tool = :tool)
)
SELECT tool, COUNT(*) AS failed_calls, SUM(CASE WHEN last_try IS NULL THEN 0 ELSE 1 END) AS tried_again,
       SUM(CASE WHEN last_try = 0 THEN 1 ELSE 0 END) AS mended,
       ROUND(CAST(SUM(CASE WHEN last_try = 0 THEN 1 ELSE 0 END) * 1.0 / COUNT(*) AS NUMERIC(18, 4)), 4) AS mended_share
FROM failed
GROUP BY tool
ORDER BY failed_calls DESC, tool
LIMIT :limit
