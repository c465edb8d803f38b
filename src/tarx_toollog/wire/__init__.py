"""Bytes in, ``Exchange`` out. No IO of any kind: neither asyncio, sockets nor a database is imported here."""
