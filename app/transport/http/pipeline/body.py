"""Reads and parses the body of a request, within bounds and as strict JSON.

Refused are duplicate members, NaN, nesting that would exhaust the stack, and NUL or lone surrogates in
strings, which a database cannot store.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from typing import Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from app.errors import Violation
from app.transport.http.context import RequestContext, context_of
from app.transport.http.problems.problem import BodyTooLarge, MalformedJson, UnsupportedMediaType
from app.transport.http.problems.violations import VIOLATIONS_MAX, pointer

BODY_MAX = 64 * 1024  # bytes
DEPTH_MAX = 20
_DRAIN_MAX = 1024 * 1024  # bytes of a refused body that are still read
_DRAIN_SECONDS = 1.0
_DIGITS_MAX = 18  # parsing longer integers takes quadratic time
_JSON = re.compile(r"application/(?:[a-z0-9!#$&^_.+-]+\+)?json")
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


async def read(request: Request) -> bytes:
    """Counts bytes while it reads; a Content-Length only allows an earlier refusal."""
    context = context_of(request.scope)
    declared = context.first_header(b"content-length") or "0"
    if len(declared) > _DIGITS_MAX or (declared.isdecimal() and int(declared) > BODY_MAX):
        await _refuse_size(request, context, more=True)
    body = b""
    more = True
    while more:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_MAX:
            await _refuse_size(request, context, more=more)
    return body


def check_media_type(content_type: str) -> None:
    """Accepts application/json and +json types, in UTF-8. Raises UnsupportedMediaType."""
    if not _is_json(content_type):
        raise UnsupportedMediaType("Send the body as application/json, in UTF-8.")


@lru_cache(maxsize=64)
def _is_json(content_type: str) -> bool:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [
        p.removeprefix("charset=").strip('"') for p in parameters if p.startswith("charset")
    ]
    return _JSON.fullmatch(media_type) is not None and all(one == "utf-8" for one in charsets)


def parse(raw: bytes) -> Any:
    if not raw:
        raise MalformedJson("The body is empty; send JSON.")
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise MalformedJson("The body is not valid UTF-8.") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"Invalid JSON at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise MalformedJson(f"The JSON is nested deeper than {DEPTH_MAX} levels.") from None
    if raw.count(b"{") + raw.count(b"[") > DEPTH_MAX:  # otherwise it cannot be too deep
        _check_depth(value, 1)
    return value


def unstorable(raw: bytes, value: Any) -> list[Violation]:
    """Strings that contain NUL or lone surrogates; in UTF-8 only an escape can produce them."""
    if b"\\u" not in raw:
        return []
    return [
        Violation("pointer", pointer(path), "invalid", "must not contain NUL or lone surrogates")
        for path in islice(_unstorable(value, ()), VIOLATIONS_MAX)
    ]


def unknown_members(value: Any) -> list[Violation]:
    """For a route without a body: it accepts an empty object, or nothing."""
    if not isinstance(value, dict):
        return [Violation("pointer", "", "wrong_type", "must be an empty object or absent")]
    return [
        Violation("pointer", pointer([name]), "unknown_member", "unknown member")
        for name in list(value)[:VIOLATIONS_MAX]
    ]


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON: equal for equal requests, whatever their spelling."""
    return hashlib.sha256(_CANONICAL(value).encode()).hexdigest()


async def _refuse_size(request: Request, context: RequestContext, *, more: bool) -> NoReturn:
    # A client that is still sending may never read the answer if its connection is closed, so a
    # bounded part of the rest is read first. A longer body ends with a closed connection.
    if more and b"expect" not in context.headers:
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                more = await _drain(request)
    raise BodyTooLarge(
        f"The body must not exceed {BODY_MAX} bytes.",
        headers={"Connection": "close"} if more else {},
    )


async def _drain(request: Request) -> bool:
    """Reads on, within bounds. Returns whether there is still more."""
    size = 0
    while size <= _DRAIN_MAX:
        message = await request.receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return False
        size += len(message.get("body", b""))
    return True


def _check_depth(value: Any, depth: int) -> None:
    if not isinstance(value, dict | list):
        return
    if depth > DEPTH_MAX:
        raise MalformedJson(f"The JSON is nested deeper than {DEPTH_MAX} levels.")
    for inner in value.values() if isinstance(value, dict) else value:
        _check_depth(inner, depth + 1)


def _unstorable(value: Any, path: Sequence[str | int]) -> Iterator[Sequence[str | int]]:
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield path
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unstorable(inner, (*path, index))
    elif isinstance(value, dict):
        for name, inner in value.items():
            if _UNSTORABLE.search(name):
                yield path
            else:
                yield from _unstorable(inner, (*path, name))


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("An object has the same member twice.")
    return members


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _DIGITS_MAX else float(digits)


def _no_constant(_name: str) -> NoReturn:
    raise MalformedJson("NaN and Infinity are not valid JSON.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_members, parse_int=_whole_number, parse_constant=_no_constant
)
