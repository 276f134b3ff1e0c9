"""Run configurations: frozen dataclasses filled from YAML and `key=value` words. Unknown keys are errors.

PyYAML reads the file, and pydantic converts the values: `3e-4` is text to PyYAML and becomes a number here.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

T = TypeVar("T")


class _StrictLoader(yaml.SafeLoader):
    """Plain YAML in which a key may stand once: the second one would silently win."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(cls: type[T], path: Path | None, words: Sequence[str] = ()) -> T:
    """Build a configuration.

    Args:
        cls: the dataclass; what neither file nor words set keeps its default.
        path: YAML file, or None for nothing but defaults.
        words: `section.key=value` each, the value in YAML; they win over the file, later ones over earlier ones.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the YAML is malformed, a key is unknown, or a value has the wrong type or is refused.
    """
    values: dict[str, Any] = {}
    if path is not None:
        if not path.is_file():
            raise FileNotFoundError(f"configuration: no file at {path}")
        try:
            given = yaml.load(path.read_text(encoding="utf-8"), _StrictLoader)
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not YAML ({error})") from error
        values = {} if given is None else given
        if not isinstance(values, dict):
            raise ValueError(f"{path}: got {type(values).__name__} at the top, expected keys and values")
    for word in words:
        _set(values, word)
    return build(cls, values, name=str(path or "configuration"))


def build(cls: type[T], values: Mapping[str, Any], *, name: str = "configuration") -> T:
    """Build a configuration from nested plain values.

    Raises:
        ValueError: a key is unknown, or a value has the wrong type or is refused.
    """
    if problems := list(_unknown_keys(cls, values, "")):
        raise ValueError(f"{name}: " + "; ".join(problems))
    try:
        return pydantic.TypeAdapter(cls).validate_python(values)
    except pydantic.ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc'])) or name}: {_message(item)}" for item in error.errors()]
        raise ValueError("; ".join(problems)) from error


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values of a configuration, as YAML and JSON hold them; `build` is the inverse."""
    values: dict[str, Any] = pydantic.TypeAdapter(type(config)).dump_python(config, mode="json")
    return values


def save(config: Any, path: Path) -> None:
    """Write a configuration as YAML, every field said."""
    path.write_text(yaml.safe_dump(to_dict(config), sort_keys=False), encoding="utf-8")


def commented(config: Any) -> str:
    """The configuration as YAML with each field's description above it."""
    return "\n".join(_commented_lines(config, ""))


def differences(old: Any, new: Any, prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Fields that differ between two configurations of one class: dotted name to (old, new)."""
    found: dict[str, tuple[Any, Any]] = {}
    for field in dataclasses.fields(old):
        before, after = getattr(old, field.name), getattr(new, field.name)
        if dataclasses.is_dataclass(before) and type(before) is type(after):
            found |= differences(before, after, f"{prefix}{field.name}.")
        elif before != after:
            found[prefix + field.name] = (before, after)
    return found


def field_docs(cls: type) -> dict[str, str]:
    """The docstring under each field of a dataclass."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    docs = {}
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
        ):
            docs[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return docs


def _commented_lines(config: Any, indent: str) -> Iterator[str]:
    docs = field_docs(type(config))
    values = to_dict(config)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for line in textwrap.wrap(docs.get(field.name, ""), 110 - len(indent)):
            yield f"{indent}# {line}"
        if dataclasses.is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from _commented_lines(value, indent + "  ")
        else:
            text = yaml.safe_dump([values[field.name]], default_flow_style=True, sort_keys=False, width=10**6)
            yield f"{indent}{field.name}: {text.strip()[1:-1]}"


def _set(values: dict[str, Any], word: str) -> None:
    key, equals, text = word.partition("=")
    if not equals or not key:
        raise ValueError(f"configuration: got {word!r}, expected key=value, for example optimizer.lr=3e-4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"configuration: the value in {word!r} is not YAML ({error})") from error
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if inner is None:
            inner = values[section] = {}
        if not isinstance(inner, dict):
            raise ValueError(f"configuration: {key}: {section} is {inner!r}, expected a section with keys")
        values = inner
    values[last] = value


def _unknown_keys(cls: type, values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    hints = typing.get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    for key, value in values.items():
        if key not in names:
            close = difflib.get_close_matches(str(key), names, 1)
            hint = f"did you mean {close[0]}?" if close else f"expected one of {', '.join(names)}"
            yield f"unknown key {prefix}{key}; {hint}"
        elif isinstance(value, Mapping):
            for choice in (hints[key], *typing.get_args(hints[key])):
                if isinstance(choice, type) and dataclasses.is_dataclass(choice):
                    yield from _unknown_keys(choice, value, f"{prefix}{key}.")


def _message(item: Any) -> str:
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error":
        return message  # Our own, which says what was got.
    return f"got {item['input']!r}, {message[0].lower()}{message[1:]}"
