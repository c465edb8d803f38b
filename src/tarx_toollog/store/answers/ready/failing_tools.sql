-- Which tools fail, and how often?
-- group: tools
-- read: error_share is the share of calls that were wrong in themselves or came back with an error; the columns
-- between say which of it. A call may count in several of them.
WITH call AS MATERIALIZED (
    SELECT tool, is_bad, argument_state, schema_state, offered, complete, origin, result_is_error
    FROM v_tool_calls
    WHERE called_at >= :since AND (:tool = '' OR tool = :tool)
)
SELECT tool, COUNT(*) AS calls, SUM(CASE WHEN is_bad = 1 OR result_is_error THEN 1 ELSE 0 END) AS failed_calls,
       SUM(is_bad) AS bad_calls,
       SUM(CASE WHEN argument_state = 'invalid' THEN 1 ELSE 0 END) AS invalid_arguments,
       SUM(CASE WHEN schema_state = 'fail' THEN 1 ELSE 0 END) AS schema_failures,
       SUM(CASE WHEN offered THEN 0 ELSE 1 END) AS not_offered,
       SUM(CASE WHEN complete THEN 0 ELSE 1 END) AS incomplete,
       SUM(CASE WHEN origin = 'leaked_text' THEN 1 ELSE 0 END) AS leaked,
       SUM(CASE WHEN result_is_error THEN 1 ELSE 0 END) AS error_results,
       ROUND(CAST(AVG(CASE WHEN is_bad = 1 OR result_is_error THEN 1.0 ELSE 0.0 END) AS NUMERIC(18, 4)), 4) AS error_share
FROM call
GROUP BY tool
ORDER BY failed_calls DESC, tool
LIMIT :limit
