"""Objects as YAML text that `load` reads back to the same (PURE).

The emitter is PyYAML's, which knows YAML 1.1; what our own reading of a plain scalar would make of a text decides too.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from manifests.core_schema import resolve
from resources.kinds import API_VERSION, Kind
from resources.meta import Metadata, Model

_DOLLAR = re.compile(r"\$(?=[${])")


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _scalar(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if not isinstance(resolve(text), str) else "|" if _block(text) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _block(text: str) -> bool:
    """Whether lines stand in a block as they are."""
    return "\n" in text and text.isascii() and all(line == line.rstrip() for line in text.split("\n"))


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return _scalar(dumper, _DOLLAR.sub("$$", text))


def _map(dumper: _Dumper, data: Mapping[str, Any]) -> yaml.MappingNode:
    # Variables are not filled in in keys: their dollars are single.
    pairs = [(_scalar(dumper, key), dumper.represent_data(value)) for key, value in data.items()]
    return yaml.MappingNode("tag:yaml.org,2002:map", pairs, flow_style=not pairs)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(dict, _map)


def document(kind: Kind, metadata: Metadata, spec: Model) -> dict[str, Any]:
    """A manifest as plain data, keys in order: what the user wrote, normalised."""
    written = metadata.model_dump(mode="json", exclude_defaults=True)
    own = {name: written[name] for name in ("name", "namespace", "labels", "annotations") if name in written}
    return {"apiVersion": API_VERSION, "kind": str(kind), "metadata": own, "spec": spec.written()}


def emit(documents: Iterable[Mapping[str, Any]]) -> str:
    """One YAML text, a document each, keys in the order they have."""
    found = [
        yaml.dump(
            dict(data), Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=True, width=2**31 - 1
        )
        for data in documents
    ]
    return "---\n".join(found)
