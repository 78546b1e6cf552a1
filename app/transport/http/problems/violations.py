"""Converts the errors of a schema into violations, as the contract describes them.

Each violation has one place (a JSON pointer into the body as it was sent, a parameter or a header), a code
and a detail, which may name limits of the schema. It never repeats the value that was sent.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from app.errors import Violation

VIOLATIONS_MAX = 20
POINTER_MAX = 256  # characters; a longer pointer is cut to an ancestor
_OWN = "holdfast."

Place = Literal["pointer", "parameter", "header"]


def refuse(code: str, detail: str) -> PydanticCustomError:
    """The error that a validator of a schema raises. The detail must not repeat the input."""
    return PydanticCustomError(f"{_OWN}{code}", "{detail}", {"detail": detail})


def violations_of(errors: Sequence[Mapping[str, Any]], body: Any) -> list[Violation]:
    return [_violation(error, body) for error in errors[:VIOLATIONS_MAX]]


def pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901); of an ancestor, if it would be too long."""
    text = ""
    for step in path:
        longer = f"{text}/{str(step).replace('~', '~0').replace('/', '~1')}"
        if len(longer) > POINTER_MAX:
            return text
        text = longer
    return text


def _violation(error: Mapping[str, Any], body: Any) -> Violation:
    source, *path = error["loc"] or ("body",)
    place: Place
    if source == "body":
        place, at = "pointer", pointer(_in_body(path, body, missing=error["type"] == "missing"))
    elif source == "header":
        place, at = "header", str(path[0]) if path else ""
    else:
        place, at = "parameter", str(path[0]) if path else ""
    code, detail = _meaning(error)
    return Violation(place, at[:POINTER_MAX], code, detail)


def _in_body(path: Sequence[str | int], body: Any, *, missing: bool) -> list[str | int]:
    """The steps that exist in the body; pydantic also adds names of union members."""
    found: list[str | int] = []
    here = body
    for index, step in enumerate(path):
        if _has(here, step):
            here = here[step]
        elif missing and index == len(path) - 1:
            here = None  # the missing member
        else:
            continue
        found.append(step)
    return found


def _has(here: Any, step: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(step, int) and 0 <= step < len(here)
    return isinstance(here, dict) and step in here


def _meaning(error: Mapping[str, Any]) -> tuple[str, str]:
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx") or {}
    if kind.startswith(_OWN):
        return kind.removeprefix(_OWN), str(context["detail"])
    if kind == "value_error" and isinstance(context.get("error"), ValueError):
        return "invalid", str(context["error"])  # raised by a validator of ours
    if kind in _MEANING:
        code, template = _MEANING[kind]
        return code, template.format_map(context)
    if kind.endswith(("_type", "_parsing")):
        return "wrong_type", f"must be {_TYPES.get(kind.rpartition('_')[0], 'of another type')}"
    return "invalid", "invalid value"


_MEANING = {
    "missing": ("missing", "is required"),
    "extra_forbidden": ("unknown_member", "unknown member"),
    "string_too_short": ("out_of_range", "must have at least {min_length} characters"),
    "string_too_long": ("out_of_range", "must have at most {max_length} characters"),
    "too_short": ("out_of_range", "must have at least {min_length} entries"),
    "too_long": ("out_of_range", "must have at most {max_length} entries"),
    "greater_than": ("out_of_range", "must be greater than {gt}"),
    "greater_than_equal": ("out_of_range", "must be at least {ge}"),
    "less_than": ("out_of_range", "must be less than {lt}"),
    "less_than_equal": ("out_of_range", "must be at most {le}"),
    "literal_error": ("invalid", "must be {expected}"),
    "enum": ("invalid", "must be {expected}"),
    "string_pattern_mismatch": ("invalid", "must match {pattern}"),
}
_TYPES = {
    "string": "a string",
    "int": "a whole number",
    "bool": "true or false",
    "dict": "an object",
    "model": "an object",
    "model_attributes": "an object",
    "list": "an array",
    "tuple": "an array",
    "date": "a date",
    "date_from_datetime": "a date",
    "datetime": "a date and time",
}
