"""Readable text for the JSON schema of an option: its type and the values it accepts."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES = {"number": "number", "integer": "whole number", "boolean": "true or false", "null": "none", "object": "table"}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<=", "multipleOf": "times"}
_LENGTHS = {"minItems": "at least", "maxItems": "at most", "minLength": "at least", "maxLength": "at most"}


def type_text(schema: Schema) -> str:
    """The type alone: "number", "whole number or none", "list of text", "choice"."""
    schema = _resolve(schema)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_text(_with_defs(schema, part)) for part in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return "choice"
    if schema.get("type") == "array":
        return f"list of {type_text(_items(schema))}"
    if schema.get("type") == "string":
        return "path" if schema.get("format") == "path" else "text"
    return _TYPES.get(schema.get("type", ""), "anything")


def range_text(schema: Schema) -> str:
    """The type with its limits: "a number > 0 and <= 1", "one of sgd, adam", "a whole number or none"."""
    schema = _resolve(schema)
    if "anyOf" in schema:
        return " or ".join(range_text(_with_defs(schema, part)) for part in schema["anyOf"])
    if "const" in schema:
        return _show(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(_show, schema['enum']))}"
    if schema.get("type") == "array":
        return _limited(f"a list, each {range_text(_items(schema))}", schema)
    return _limited(_article(type_text(schema)), schema)


def description(schema: Schema) -> str:
    """The description in the annotation, or in a member of its union; "" if there is none."""
    found = [schema.get("description", "")]
    found += [part.get("description", "") for part in schema.get("anyOf", ())]
    return next(filter(None, found), "")


def _limited(text: str, schema: Schema) -> str:
    limits = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    limits += [f"{sign} {schema[key]} long" for key, sign in _LENGTHS.items() if key in schema]
    return " ".join([text, " and ".join(limits)]).strip()


def _article(text: str) -> str:
    bare = text in {"none", "true or false", "anything", "text"}
    return text if bare else f"a {text}"


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _items(schema: Schema) -> Schema:
    members = schema.get("prefixItems")
    return _with_defs(schema, {"anyOf": members} if members else schema.get("items", {}))


def _with_defs(schema: Schema, part: Schema) -> Schema:
    return {**part, "$defs": schema.get("$defs", {})}


def _resolve(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else schema
