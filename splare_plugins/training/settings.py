"""Dataclasses from YAML: every key and value checked, and each mistake named with what was probably meant."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import math
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from splare_plugins.errors import InputError, MissingPartError

T = TypeVar("T")
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class Settings:
    """What a dataclass of settings can be read from and written to."""

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read a YAML file.

        Raises:
            InputError: if the file is missing or is not YAML, naming it; or naming the setting that is unknown,
                missing or wrong.
            MissingPartError: if pyyaml is not installed.
        """
        return build(cls, _read_yaml(Path(path)), str(path))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "the training config") -> Self:
        """Take plain values; errors are those of :meth:`from_yaml`."""
        return build(cls, dict(values), where)

    def to_json(self) -> str:
        """All settings, defaults included."""
        return json.dumps(dataclasses.asdict(self), indent=2, ensure_ascii=False) + "\n"  # type: ignore[call-overload]


def _read_yaml(path: Path) -> Any:
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingPartError("configs need pyyaml; run: pip install 'splare-plugins[train]'") from error
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def build(kind: type[T], values: Any, where: str) -> T:
    """An instance of a dataclass from plain values.

    Raises:
        InputError: naming the key, for one that is unknown or missing, or has a value of another type.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: settings are names with values, not {values!r}")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            near = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {near[0]!r}" if near else f"there are {', '.join(fields)}"
            raise InputError(f"{where}: there is no setting {key!r}; {hint}")
    missing = [
        name
        for name, field in fields.items()
        if name not in values and field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise InputError(f"{where}: the setting {missing[0]!r} is missing")
    hints = get_type_hints(kind)
    return kind(**{key: _convert(hints[key], value, f"{where}: {key}") for key, value in values.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        words = [word for each in arguments if get_origin(each) is Literal for word in get_args(each)]
        if words and value in words:
            return value
        (inner,) = (each for each in arguments if each is not type(None) and get_origin(each) is not Literal)
        if words and (not isinstance(value, inner) or isinstance(value, bool)):
            choices = [_NAMES[inner], *map(repr, words), *(["null"] if type(None) in arguments else [])]
            raise InputError(f"{where} must be {' or '.join(choices)}, not {value!r}")
        return _convert(inner, value, where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be {' or '.join(map(repr, arguments))}, not {value!r}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple) or (arguments[-1] is not ... and len(value) != len(arguments)):
            count = "" if arguments[-1] is ... else f" of {len(arguments)}"
            raise InputError(f"{where} must be a list{count}, not {value!r}")
        inner = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        return tuple(_convert(each, item, where) for each, item in zip(inner, value, strict=True))
    if origin is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} must be names with values, not {value!r}")
        return {str(key): _convert(arguments[1], item, f"{where}: {key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    return _plain(hint, value, where)


def _plain(kind: type, value: Any, where: str) -> Any:
    if kind is float and isinstance(value, str | int) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            value = float(value)  # YAML takes 5e-5, without a point, for text
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError(f"{where} must be {_NAMES[kind]}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} must be a finite number, not {value!r}")
    return value
