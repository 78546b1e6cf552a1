"""Answers that may be kept: who may keep them and for how long, and 304 where nothing is new.

An entity tag says what an answer tells. Whoever asks again with `If-None-Match` and the tag of what is
still told gets 304 and no body. All of it is behind a token, so every answer varies by `Authorization`;
what is the same for everybody may be kept by shared caches all the same, each token's answer for itself.
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
        "description": "Who may keep the answer, and for how long.",
        "schema": {"type": "string"},
    },
    "Vary": {
        "description": "A cache keeps each token's answer for itself.",
        "schema": {"type": "string"},
    },
}

IfNoneMatch = Annotated[
    str | None,
    Header(max_length=4096, description="An `ETag` of before: where it still says it all, 304."),
]


def cacheable_responses() -> dict[int | str, dict[str, Any]]:
    """What such a route documents beside its refusals; its 200 has the same headers."""
    return {
        200: {"headers": dict(_HEADERS)},
        304: {
            "description": "What was answered with this `ETag` still stands.",
            "headers": dict(_HEADERS),
        },
    }


def conditional_response(
    request: Request, told: BaseModel | bytes, policy: str, tag: str | None = None
) -> Response:
    """200 or 304. `tag` stands for what is told, where the body has more in it than that."""
    body = told if isinstance(told, bytes) else told.model_dump_json().encode()
    entity = f'W/"{tag}"' if tag is not None else f'"{digest(body)}"'
    headers = {"ETag": entity, "Cache-Control": policy, "Vary": "Authorization"}
    if _is_known(request, entity):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def digest(told: bytes) -> str:
    return hashlib.sha256(told).hexdigest()[:32]


def _is_known(request: Request, entity: str) -> bool:
    """Compared weakly, as RFC 9110 has it for a GET."""
    given = ",".join(request.headers.getlist("if-none-match"))
    return given.strip() == "*" or entity.removeprefix("W/") in _TAG.findall(given)
