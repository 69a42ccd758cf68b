"""Names that configurations and weights had before: models of then are still read, and keep the name that they gave
to their streams, which is worked out from the names of then."""

from collections.abc import Mapping
from typing import Any

_KEYS = {  # of configuration tables
    "marks": "phases",
    "stages": "num_quantizers",
    "frames_per_token": "frames_per_vector",
    "perturb": "augment",
}
_OLD_KEYS = {new: old for old, new in _KEYS.items()}
_TENSORS = {".marks.": ".phase_embedding."}  # parts of the names of weights


def with_new_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """A model's table with today's keys; a key that stands there by both names keeps its old one, and is refused."""
    return _mapped(table, _KEYS)


def with_old_keys(table: Mapping[str, Any]) -> dict[str, Any]:
    """A model's table with the keys of format 2's beginning, by which its fingerprint goes."""
    return _mapped(table, _OLD_KEYS)


def _mapped(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    mapped = {}
    for key, value in table.items():
        other = names.get(key, key)
        mapped[key if other in table else other] = _mapped(value, names) if isinstance(value, Mapping) else value
    return mapped


def new_tensor_name(name: str) -> str:
    """Today's name of a weight."""
    for old, new in _TENSORS.items():
        name = name.replace(old, new)
    return name


def old_tensor_name(name: str) -> str:
    """The name of a weight by which fingerprints go."""
    for old, new in _TENSORS.items():
        name = name.replace(new, old)
    return name
