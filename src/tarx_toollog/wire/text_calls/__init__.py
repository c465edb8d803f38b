"""Find tool calls that leaked into the text of an answer.

A model writes its calls in the syntax of its own template, and the server turns them into ``tool_calls``. Where
the template, the parser or the model is not quite what the server thinks, the call stays in the text: the
client sees prose, nothing is called, and the model looks worse than it is. ``find_calls`` reads such calls out
of the text, in the forms listed in ``FORMS``.

Does no IO, imports nothing of the decoders, knows nothing of HTTP. Start with ``scan``; the other modules read
one group of forms each.
"""

from tarx_toollog.wire.text_calls.forms import FORMS, FormInfo
from tarx_toollog.wire.text_calls.reader import TextCall
from tarx_toollog.wire.text_calls.scan import MAX_CALLS, find_calls

__all__ = ["FORMS", "MAX_CALLS", "FormInfo", "TextCall", "find_calls"]
