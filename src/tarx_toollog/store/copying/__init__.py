"""Moving a whole store from one database into another: SQLite and PostgreSQL, either way."""
