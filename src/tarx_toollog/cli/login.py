"""Who sits at the keyboard: who labels, unless they say another name."""

import getpass


def login_name() -> str:
    """Return the login name; empty where the user has none, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
