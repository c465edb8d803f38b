"""What the log costs a chat, against named subjects in the same run: ``python -m bench speed [PART …]``."""
