"""Export formats. A new one is a class with ``name``, ``about`` and ``writer``, and a line in ``FORMATS``.

Third parties add theirs with an entry point of the group ``tarx_toollog.export_formats``.
"""

from tarx_toollog.export.formats.base import ExportFormat, FormatWriter, Location
from tarx_toollog.export.formats.trl import TrlFormat
from tarx_toollog.registry import Registry

FORMATS: Registry[ExportFormat] = Registry(
    "tarx_toollog.export_formats", "export format", {TrlFormat.name: TrlFormat()}
)

__all__ = ["FORMATS", "ExportFormat", "FormatWriter", "Location"]
