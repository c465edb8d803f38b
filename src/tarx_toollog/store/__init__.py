"""The only home of SQL: schema, journal, writer, reader, views. Knows nothing of HTTP."""
