"""Strict readers of base64url and JSON.

Two parsers read one token, this one and python-jose, and must never read it differently. So everything that a
lenient parser would repair is refused: padding, other alphabets, stray bits, a duplicate member, NaN, an
encoding other than UTF-8. Every refusal is a ValueError; a document nested too deep is a RecursionError.
"""

import base64
import json
import re
from typing import Any, NoReturn

_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


def decode_base64url(text: str) -> bytes:
    if _ALPHABET.fullmatch(text) is None or len(text) % 4 == 1:
        raise ValueError("not base64url")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


def encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_json_object(raw: bytes) -> dict[str, Any]:
    document = json.loads(
        raw.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse_constant
    )
    if not isinstance(document, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - one kind of error for a bad document
    return document


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate JSON member")
    return members


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
