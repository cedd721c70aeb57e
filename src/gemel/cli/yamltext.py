"""Pure: objects as YAML text, keys in the order in which they came."""

import io
from typing import Any

from ruamel.yaml import YAML


def render_yaml(document: Any) -> str:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 4096  # never fold: a diff shows whole values
    writer.allow_unicode = True
    writer.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    writer.dump(document, text)
    return text.getvalue()
