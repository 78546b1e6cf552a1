"""`/docs`: the documentation page and the page of problems. Neither loads anything from another host.

The page is Swagger UI, from `static/`. Its content security policy forbids other hosts and inline scripts.
"""

import hashlib
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

from app.errors import NotFound
from app.transport.http.problems.responses import example_of
from app.transport.http.problems.types import PROBLEM_TYPES, ProblemType

STATIC = Path(__file__).parent / "static"
ASSETS: Mapping[str, str] = {
    "docs.css": "text/css; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_IMMUTABLE = "public, max-age=31536000, immutable"


def docs_router(demo_client: str | None) -> APIRouter:
    """`demo_client` is filled in as the client and as its secret."""
    router = APIRouter(prefix="/docs", include_in_schema=False)
    versions = {name: _digest(name) for name in ASSETS}
    page, problems = _page(versions, demo_client), _problems(versions)

    @router.get("")
    async def docs() -> HTMLResponse:
        return _html(page)

    @router.get("/problems")
    async def docs_problems() -> HTMLResponse:
        return _html(problems)

    @router.get("/static/{name}")
    async def docs_asset(name: str, v: str = "") -> Response:
        if name not in ASSETS:
            raise NotFound("There is no such file.")
        policy = _IMMUTABLE if v == versions[name] else "no-cache"
        return FileResponse(
            STATIC / name, media_type=ASSETS[name], headers={"Cache-Control": policy}
        )

    return router


def _digest(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:16]


def _html(text: str) -> HTMLResponse:
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return HTMLResponse(text, headers=headers)


def _page(versions: Mapping[str, str], demo_client: str | None) -> str:
    def at(name: str) -> str:
        return f"docs/static/{name}?v={versions[name]}"

    client = "" if demo_client is None else f' data-client="{escape(demo_client)}"'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Holdfast: the API</title>
<link rel="icon" href="{at("favicon-32x32.png")}">
<link rel="stylesheet" href="{at("swagger-ui.css")}">
<link rel="stylesheet" href="{at("docs.css")}">
</head>
<body>
<div id="docs" data-document="openapi.json"{client}></div>
<noscript>This page needs JavaScript. Its content is in <a href="openapi.json">openapi.json</a>.</noscript>
<script src="{at("swagger-ui-bundle.js")}"></script>
<script src="{at("docs.js")}"></script>
</body>
</html>
"""


def _problems(versions: Mapping[str, str]) -> str:
    links = "\n".join(
        f'<a href="#{one.code}">{one.status} <code>{one.code}</code></a>' for one in PROBLEM_TYPES
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Holdfast: problems</title>
<link rel="icon" href="static/favicon-32x32.png?v={versions["favicon-32x32.png"]}">
<link rel="stylesheet" href="static/docs.css?v={versions["docs.css"]}">
</head>
<body>
<main class="problems">
<h1>Problems</h1>
<p>Every refusal is answered as <code>application/problem+json</code>. Decide by <code>code</code>: it is
stable, while titles and details may change. <code>retryable</code> says whether the same request may succeed
later, after <code>retry_after_seconds</code> if that is given. Include the <code>request_id</code> when you
contact support. <a href="../docs">The API</a></p>
<nav>
{links}
</nav>
{"".join(map(_section, PROBLEM_TYPES))}</main>
</body>
</html>
"""


def _section(one: ProblemType) -> str:
    again = "The same request may succeed later." if one.retryable else ""
    example = json.dumps(example_of(one), indent=2, ensure_ascii=False)
    return f"""<section id="{one.code}">
<h2><a href="#{one.code}"><code>{one.code}</code></a> <span class="status">{one.status}</span>
{escape(one.title)}</h2>
<p>{_prose(one.meaning)}</p>
<p><strong>What to do:</strong> {_prose(one.what_to_do)} {again}</p>
<details><summary>For example</summary><pre>{escape(example)}</pre></details>
</section>
"""


def _prose(text: str) -> str:
    """HTML, with text between backticks as code."""
    parts = escape(text, quote=False).split("`")
    return "".join(
        f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts)
    )
