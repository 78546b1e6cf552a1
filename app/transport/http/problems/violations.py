"""What a schema found wrong, in the contract's words.

Turns pydantic's errors into violations: each with one place (a JSON pointer into the body as it was
sent, a parameter or a header), a code out of a few, and a detail made of the schema's own limits.
Nothing of the value that was sent is given back.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic_core import PydanticCustomError

from app.errors import Violation

VIOLATIONS_MAX = 20
POINTER_MAX = 256  # characters; a longer one points at an ancestor
_OWN = "holdfast."

Place = Literal["pointer", "parameter", "header"]


def refuse(code: str, detail: str) -> PydanticCustomError:
    """For a schema's validator to raise: a code and a detail of its own. Never quote the input."""
    return PydanticCustomError(f"{_OWN}{code}", "{detail}", {"detail": detail})


def violations_of(errors: Sequence[Mapping[str, Any]], body: Any) -> list[Violation]:
    return [_violation(error, body) for error in errors[:VIOLATIONS_MAX]]


def pointer(path: Sequence[str | int]) -> str:
    """RFC 6901; shortened to an ancestor where it would be too long to give back."""
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
    """The steps that exist in the body; pydantic adds names of union members, which do not."""
    found: list[str | int] = []
    here = body
    for index, step in enumerate(path):
        if _has(here, step):
            here = here[step]
        elif missing and index == len(path) - 1:
            here = None  # the member that should have been there
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
        return "invalid", str(context["error"])  # raised by a validator of ours, in our words
    if kind in _MEANING:
        code, template = _MEANING[kind]
        return code, template.format_map(context)
    if kind.endswith(("_type", "_parsing")):
        return "wrong_type", f"This takes {_TYPES.get(kind.rpartition('_')[0], 'another type')}."
    return "invalid", "This is not a valid value here."


_MEANING = {
    "missing": ("missing", "This is required."),
    "extra_forbidden": ("unknown_member", "This member is not known here."),
    "string_too_short": ("out_of_range", "{min_length} or more characters are needed."),
    "string_too_long": ("out_of_range", "At most {max_length} characters are taken."),
    "too_short": ("out_of_range", "{min_length} or more entries are needed."),
    "too_long": ("out_of_range", "At most {max_length} entries are taken."),
    "greater_than": ("out_of_range", "This has to be more than {gt}."),
    "greater_than_equal": ("out_of_range", "This has to be at least {ge}."),
    "less_than": ("out_of_range", "This has to be less than {lt}."),
    "less_than_equal": ("out_of_range", "This has to be at most {le}."),
    "literal_error": ("invalid", "This takes {expected}."),
    "enum": ("invalid", "This takes {expected}."),
    "string_pattern_mismatch": ("invalid", "This has to match {pattern}."),
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
