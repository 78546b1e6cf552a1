"""Cacheable answers: `Cache-Control` policies, entity tags and 304.

A client that sends `If-None-Match` with the current tag receives 304 without a body. Every answer needs a
token and so varies by `Authorization`. Answers that are the same for all tenants may be stored by shared
caches too, for each token separately.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import Header, Request, Response
from pydantic import BaseModel

PRIVATE_OFFERS: Final = "private, max-age=2, stale-while-revalidate=10"
PUBLIC_CALENDAR: Final = "public, max-age=2, s-maxage=15, stale-while-revalidate=60"
PUBLIC_ROUTES: Final = "public, max-age=30, s-maxage=300, stale-while-revalidate=3600"

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_HEADERS: Mapping[str, Any] = {
    "ETag": {"description": "For `If-None-Match`.", "schema": {"type": "string"}},
    "Cache-Control": {
        "description": "Which caches may store the answer, and for how long.",
        "schema": {"type": "string"},
    },
    "Vary": {
        "description": "A cache stores the answer for each token separately.",
        "schema": {"type": "string"},
    },
}

IfNoneMatch = Annotated[
    str | None,
    Header(max_length=4096, description="The `ETag` of an earlier answer; 304 if it is current."),
]


def cacheable_responses() -> dict[int | str, dict[str, Any]]:
    """The `responses` of a cacheable route: the headers of 200, and 304."""
    return {
        200: {"headers": dict(_HEADERS)},
        304: {
            "description": "The answer with this `ETag` is current.",
            "headers": dict(_HEADERS),
        },
    }


def conditional_response(
    request: Request, content: BaseModel | bytes, policy: str, tag: str | None = None
) -> Response:
    """200 or 304. A `tag` replaces the digest of the body where parts of the body do not matter."""
    body = content if isinstance(content, bytes) else content.model_dump_json().encode()
    entity = f'W/"{tag}"' if tag is not None else f'"{digest(body)}"'
    headers = {"ETag": entity, "Cache-Control": policy, "Vary": "Authorization"}
    if _is_current(request, entity):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _is_current(request: Request, entity: str) -> bool:
    """Compares weakly, as RFC 9110 requires for GET."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or entity.removeprefix("W/") in _TAG.findall(given)
