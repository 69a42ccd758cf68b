"""Strict tables: TOML and JSON to frozen dataclasses and back.

A dataclass's annotations are the whole schema. Nothing is executed and nothing passes unnoticed: an unknown key, a
missing one, a wrong type or a bad value is a :class:`~vqaudio.errors.ConfigError` that names the field, the value and
the remedy.
"""

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from vqaudio.errors import ConfigError

ConfigT = TypeVar("ConfigT")
_LARGEST_FILE = 1 << 22  # bytes


def _is_sequence_type(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _convert(annotation: Any, value: Any, where: str) -> Any:
    """Checks ``value`` against a field's annotation and converts lists to tuples and tables to dataclasses."""
    if dataclasses.is_dataclass(annotation):
        return from_mapping(typing.cast(type, annotation), value, where)
    if typing.get_origin(annotation) is types.UnionType:
        (option,) = set(typing.get_args(annotation)) - {types.NoneType}  # the only unions here are "or nothing"
        return None if value is None else _convert(option, value, where)
    if _is_sequence_type(annotation):
        return _convert_sequence(annotation, value, where)
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, annotation) or (annotation is int and isinstance(value, bool)):
        raise ConfigError(f"{where} = {value!r} is not valid: give a value of type {annotation.__name__}")
    return value


def _convert_sequence(annotation: Any, value: Any, where: str) -> tuple[Any, ...]:
    items = typing.get_args(annotation)
    if isinstance(value, Mapping):  # a table stands for pairs: objective = {nll = 1.0}
        value = [list(pair) for pair in value.items()]
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where} = {value!r} is not valid: give a list")
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(_convert(items[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if len(items) != len(value):
        raise ConfigError(f"{where} = {value!r} is not valid: give {len(items)} entries")
    return tuple(_convert(item_type, item, where) for item_type, item in zip(items, value, strict=True))


def from_mapping(cls: type[ConfigT], mapping: Any, where: str = "config") -> ConfigT:
    """Makes a configuration of class ``cls`` from a table; ``where`` names the table in errors.

    Raises:
        ConfigError: for a key that ``cls`` does not have, a key that is missing, a wrong type or a bad value.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where} = {mapping!r} is not valid: give a table")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(typing.cast(Any, cls))}
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        raise ConfigError(f"{where}.{unknown[0]} is not known: use one of {', '.join(fields)}")
    missing = [
        name
        for name, f in fields.items()
        if name not in mapping and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} is missing: add it")
    values = {name: _convert(hints[name], value, f"{where}.{name}") for name, value in mapping.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from None


def to_mapping(config: Any) -> dict[str, Any]:
    """The plain table (JSON types only) that :func:`from_mapping` reads back to an equal configuration."""
    return typing.cast(dict[str, Any], json.loads(json.dumps(dataclasses.asdict(config))))


def _override(table: dict[str, Any], assignment: str) -> None:
    """Applies one ``key.path=value`` (value in TOML; list entries by number) to a table in place."""
    path, separator, text = assignment.partition("=")
    if not separator:
        raise ConfigError(f"--set {assignment!r} is not valid: write key.path=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    *parents, last = path.strip().split(".")
    node: Any = table
    try:
        for name in parents:
            node = node[int(name)] if isinstance(node, list) else node.setdefault(name, {})
        node[int(last) if isinstance(node, list) else last] = value
    except (IndexError, ValueError, TypeError, AttributeError):
        raise ConfigError(f"--set {assignment!r} is not valid: there is no such place in the configuration") from None


def read_toml(path: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Reads a TOML file and applies ``key.path=value`` overrides.

    Raises:
        ConfigError: when the file cannot be read, is not TOML, or has no place for an override.
    """
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise ConfigError(
                f"{path}: has more than {_LARGEST_FILE >> 20} MB, which no configuration has; give another"
            )
        table = tomllib.loads(text.decode("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}): give a TOML file") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not TOML ({error})") from None
    for assignment in overrides:
        _override(table, assignment)
    return table
