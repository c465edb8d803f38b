"""What several views share: their sentences, and how the databases spell dates.

A view must also be valid SQL for DuckDB, which reads the text of SQLite's views as its own: hence no function here
that only SQLite has.
"""

from collections.abc import Mapping

SPLIT_SENTENCE = "What its conversation is kept for: train, dev or eval."
BUILD_SENTENCE = (
    "Build of the model that answered, where a probe could tell: its label, else the name made of its file."
)
DAY_SENTENCE = "Its day (UTC): 2026-11-23."
WEEK_SENTENCE = "Its week, Monday to Sunday: 2026-W47. The days before the first Monday of a year are W00."
BAND_SENTENCE = "The same in percent, as a band to group by: 0-25, 25-50, 50-75, 75-90, 90-100 or over 100."

BUILD_OF_E = "(SELECT COALESCE(b.label, b.name) FROM model_build b WHERE b.id = e.model_build_id)"
"""Name of the build that answered exchange ``e``. A subquery costs nothing where nobody asks for the column."""
BUILD_UID_OF_E = "(SELECT b.uid FROM model_build b WHERE b.id = e.model_build_id)"
MODEL_OF_E = "COALESCE(e.response_model, e.request_model)"
ANSWER_OF_E = (
    "(SELECT COALESCE(m.text, m.content) FROM node n JOIN message m ON m.id = n.message_id "
    "WHERE n.id = e.output_node_id)"
)
IS_BAD_CALL = (
    "CASE WHEN tc.argument_state IN ('ok', 'empty') AND tc.schema_state <> 'fail' "
    "AND tc.offered AND tc.complete AND tc.origin <> 'leaked_text' THEN 0 ELSE 1 END"
)
FILL_OF_E = "ROUND(CAST(e.input_tokens * 1.0 / NULLIF(e.ctx_limit, 0) AS NUMERIC(18, 4)), 4)"
FILL_BAND_OF_E = """CASE WHEN e.input_tokens IS NULL OR COALESCE(e.ctx_limit, 0) = 0 THEN NULL
            WHEN e.input_tokens < e.ctx_limit * 0.25 THEN '0-25'
            WHEN e.input_tokens < e.ctx_limit * 0.5 THEN '25-50'
            WHEN e.input_tokens < e.ctx_limit * 0.75 THEN '50-75'
            WHEN e.input_tokens < e.ctx_limit * 0.9 THEN '75-90'
            WHEN e.input_tokens <= e.ctx_limit THEN '90-100'
            ELSE 'over 100' END"""


def share(count: str, of: str) -> str:
    """Return the SQL of a share with four digits; NULL where there is nothing to share."""
    return f"ROUND(CAST({count} * 1.0 / NULLIF({of}, 0) AS NUMERIC(18, 4)), 4)"


def dates(moment: str) -> Mapping[str, Mapping[str, str]]:
    """Return what ``$day`` and ``$week`` stand for in a view whose rows happened at ``moment``."""
    utc = f"({moment} AT TIME ZONE 'UTC')"
    weeks = f"CAST(EXTRACT(DOY FROM {utc}) + 7 - EXTRACT(ISODOW FROM {utc}) AS INTEGER) / 7"
    return {
        "sqlite": {
            "day": f"SUBSTR(CAST({moment} AS TEXT), 1, 10)",
            "week": f"STRFTIME('%Y-W%W', {moment})",
        },
        "postgresql": {
            "day": f"TO_CHAR({utc}, 'YYYY-MM-DD')",
            "week": f"TO_CHAR({utc}, 'YYYY') || '-W' || LPAD(CAST({weeks} AS TEXT), 2, '0')",
        },
    }
