"""How calls went, as the charts show it: the same colours and words in all of them."""

from tarx_toollog.web.charts import Series

OUTCOMES = (
    (Series("ok", "right, and no error"), "ok"),
    (Series("faulty", "bad call"), "bad"),
    (Series("error", "right, but an error came back"), "good_error"),
    (Series("pending", "right, but without a result"), "unanswered"),
)
"""Each call once: how it went, and how the list of calls names that."""
