"""A JSON schema in words: what an option's annotation accepts, for a person to read."""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

_TYPES = {"number": "number", "integer": "whole number", "boolean": "true or false", "null": "none", "object": "table"}
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<=", "multipleOf": "times"}
_LENGTHS = {"minItems": "at least", "maxItems": "at most", "minLength": "at least", "maxLength": "at most"}


def type_words(schema: Schema) -> str:
    """The bare type: "number", "whole number or none", "list of text", "choice"."""
    schema = _resolve(schema)
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_words(_within(schema, part)) for part in schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        return "choice"
    if schema.get("type") == "array":
        return f"list of {type_words(_items(schema))}"
    if schema.get("type") == "string":
        return "path" if schema.get("format") == "path" else "text"
    return _TYPES.get(schema.get("type", ""), "anything")


def range_words(schema: Schema) -> str:
    """The type with its limits: "a number > 0 and <= 1", "one of sgd, adam", "a whole number or none"."""
    schema = _resolve(schema)
    if "anyOf" in schema:
        return " or ".join(range_words(_within(schema, part)) for part in schema["anyOf"])
    if "const" in schema:
        return _show(schema["const"])
    if "enum" in schema:
        return f"one of {', '.join(map(_show, schema['enum']))}"
    if schema.get("type") == "array":
        return _limited(f"a list, each {range_words(_items(schema))}", schema)
    return _limited(_article(type_words(schema)), schema)


def description(schema: Schema) -> str:
    """What the annotation says the option means, or ""; that of a part of a union counts too."""
    found = [schema.get("description", "")]
    found += [part.get("description", "") for part in schema.get("anyOf", ())]
    return next((text for text in found if text), "")


def _limited(words: str, schema: Schema) -> str:
    limits = [f"{sign} {schema[key]:g}" for key, sign in _BOUNDS.items() if key in schema]
    limits += [f"{sign} {schema[key]} long" for key, sign in _LENGTHS.items() if key in schema]
    return " ".join([words, " and ".join(limits)]).strip()


def _article(words: str) -> str:
    bare = words in {"none", "true or false", "anything", "text"}
    return words if bare else f"a {words}"


def _show(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _items(schema: Schema) -> Schema:
    several = schema.get("prefixItems")
    return _within(schema, {"anyOf": several} if several else schema.get("items", {}))


def _within(schema: Schema, part: Schema) -> Schema:
    return {**part, "$defs": schema.get("$defs", {})}


def _resolve(schema: Schema) -> Schema:
    reference = schema.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[-1]] if reference else schema
