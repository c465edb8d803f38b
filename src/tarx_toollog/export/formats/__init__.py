"""Export formats. A new one is a class as in ``base.ExportFormat``, and a line in ``FORMATS``.

Third parties add theirs with an entry point of the group ``tarx_toollog.export_formats``.
"""

from tarx_toollog.export.formats.axolotl import AxolotlFormat
from tarx_toollog.export.formats.base import ExportFormat, FormatOptions, FormatWriter, Location
from tarx_toollog.export.formats.canonical import CanonicalFormat
from tarx_toollog.export.formats.llamafactory import LlamaFactoryFormat
from tarx_toollog.export.formats.mistral import MistralFormat
from tarx_toollog.export.formats.mlx import MlxFormat
from tarx_toollog.export.formats.openai import OpenAIFormat
from tarx_toollog.export.formats.rendered import RenderedFormat
from tarx_toollog.export.formats.trl import TrlFormat
from tarx_toollog.export.formats.unsloth import UnslothFormat
from tarx_toollog.registry import Registry

_BUILT_IN: tuple[ExportFormat, ...] = (
    MlxFormat(),
    TrlFormat(),
    AxolotlFormat(),
    LlamaFactoryFormat(),
    UnslothFormat(),
    OpenAIFormat(),
    MistralFormat(),
    RenderedFormat(),
    CanonicalFormat(),
)

FORMATS: Registry[ExportFormat] = Registry(
    "tarx_toollog.export_formats", "export format", {one.name: one for one in _BUILT_IN}
)

__all__ = ["FORMATS", "ExportFormat", "FormatOptions", "FormatWriter", "Location"]
