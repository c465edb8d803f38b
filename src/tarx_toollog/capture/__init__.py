"""The only code that touches a live request. Every failure of ours stays here: the chat goes on.

Three taps, one record: ``middleware`` (ASGI, on the Workbench), ``transport`` (httpx, between Workbench and
model) and ``proxy`` (zero code). Each drives a ``Capture``; a ``Recorder`` brings what captures saw to the
journal, and from there, when traffic pauses, to the database.
"""
