"""Spans for an OpenTelemetry collector: a lossy side output, for dashboards that are there. The store is the record."""
