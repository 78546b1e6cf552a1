"""Ordinary FastAPI moves on guarded routes: each works, or fails at start with a sentence."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import httpx
import pytest
from fastapi import (
    APIRouter,
    BackgroundTasks,
    Body,
    Cookie,
    Depends,
    FastAPI,
    Form,
    HTTPException,
    Query,
    Request,
    Response,
    Security,
    WebSocket,
)
from fastapi.responses import PlainTextResponse, StreamingResponse
from fastapi.security import SecurityScopes
from pydantic import BaseModel
from starlette.requests import HTTPConnection

from app.identity.principal import Scope
from app.transport.http.application import Application, create_app
from app.transport.http.pipeline.dependencies import Paging
from app.transport.http.pipeline.guarded_route import ScopedRouter, guarded
from app.transport.http.pipeline.supported import UnsupportedRoute
from app.transport.http.wire.schemas import Output
from tests.transport.http.tiny import GOOD, JSON, authenticate, client_of

Declare = Callable[[ScopedRouter], Any]


class Shown(Output):
    name: str
    secret: str | None = None


class Plain(BaseModel):
    name: str


class Impossible(Exception):
    pass


def a_router(prefix: str = "/v1/things") -> ScopedRouter:
    return ScopedRouter(scope=Scope.HOLDS_WRITE, prefix=prefix)


def app_of(*routers: APIRouter) -> Application:
    return create_app(authenticate=authenticate, routers=routers, checks={}, version="0")


async def start(app: FastAPI) -> None:
    async with client_of(app) as client:
        await client.get("/livez")


async def asked(
    app: FastAPI, path: str = "/v1/things", method: str = "GET", **options: Any
) -> httpx.Response:
    async with client_of(app) as client:
        return await client.request(method, path, headers={**GOOD, **JSON}, **options)


async def nothing() -> None:
    return None


# What works.


@pytest.mark.parametrize("late", [False, True], ids=["beside", "outermost of two"])
async def test_added_middleware_sees_guarded_and_other_requests(late: bool) -> None:
    router = a_router()
    seen: list[tuple[str, int]] = []

    @router.get("")
    async def read(request: Request) -> Shown:
        return Shown(name=request.state.name)

    app = app_of(router)

    @app.middleware("http")
    async def notes(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.name = "from the middleware"
        response = await call_next(request)
        seen.append((request.url.path, response.status_code))
        response.headers["X-Seen"] = "yes"
        return response

    if late:
        app.add_middleware(_PassOn)
    answer = await asked(app)
    assert answer.json()["name"] == "from the middleware"
    assert (answer.headers["x-seen"], "x-request-id" in answer.headers) == ("yes", True)
    await asked(app, "/livez")
    await asked(app, "/v1/nowhere")
    assert seen == [("/v1/things", 200), ("/livez", 200), ("/v1/nowhere", 404)]


class _PassOn:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@pytest.mark.parametrize(
    ("error", "status", "code", "detail"),
    [
        (
            HTTPException(404, "There is no such thing."),
            404,
            "not_found",
            "There is no such thing.",
        ),
        (HTTPException(418, "Tea only."), 418, "http_error", "Tea only."),
        (HTTPException(409, {"a": 1}), 409, "http_error", '{"a":1}'),
        (HTTPException(503), 503, "http_error", "Service Unavailable"),
    ],
)
async def test_an_http_exception_is_a_problem(
    error: HTTPException, status: int, code: str, detail: str
) -> None:
    router = a_router()
    error.headers = {"X-More": "yes"}

    @router.get("")
    async def read() -> Shown:
        raise error

    answer = await asked(app_of(router))
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.status_code, problem["status"], answer.headers["x-more"]) == (
        status, status, "yes",
    )  # fmt: skip
    assert (problem["code"], problem["detail"]) == (code, detail)
    assert (problem["type"] == "about:blank") is (code == "http_error")


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_exception_handler_is_called(is_async: bool) -> None:
    router = a_router()

    @router.get("")
    async def read() -> Shown:
        raise Impossible

    app = app_of(router)
    answer = Response("handled", 451)

    async def handle(_request: Request, _error: Exception) -> Response:
        return answer

    app.add_exception_handler(Impossible, handle if is_async else lambda *_: answer)
    assert (await asked(app)).text == "handled"


async def test_an_exception_handler_for_a_status_is_called() -> None:
    router = a_router()

    @router.get("")
    async def read() -> Shown:
        raise HTTPException(418)

    app = app_of(router)
    app.add_exception_handler(418, lambda *_: Response("short and stout", 418))
    assert (await asked(app)).text == "short and stout"


async def test_an_unknown_exception_is_an_internal_error() -> None:
    router = a_router()

    @router.get("")
    async def read() -> Shown:
        raise Impossible

    answer = await asked(app_of(router))
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


async def test_a_router_is_included_with_a_prefix_and_in_another_router() -> None:
    inner, outer = a_router("/things"), APIRouter(prefix="/outer")

    @inner.get("/{name}")
    async def read(name: str, request: Request) -> Shown:
        return Shown(name=f"{name} of {request.scope['route'].path}")

    outer.include_router(inner, prefix="/middle")
    app = app_of(outer)
    app.include_router(inner, prefix="/again")
    for prefix in ("/outer/middle", "/again"):
        answer = await asked(app, f"{prefix}/things/x")
        assert answer.json()["name"] == f"x of {prefix}/things/{{name}}"
        assert (await asked(app, f"{prefix}/things/x", "POST")).status_code == 405
    async with client_of(app) as client:
        assert (await client.get("/again/things/x")).status_code == 401


async def test_a_mounted_application_answers_beside_guarded_routes() -> None:
    router, inner = a_router(), FastAPI()

    @router.get("")
    async def read() -> Shown:
        return Shown(name="ours")

    @inner.get("/hello")
    async def hello() -> str:
        return "theirs"

    app = app_of(router)
    app.mount("/extra", inner)
    answer = await asked(app, "/extra/hello")
    assert (answer.json(), "x-request-id" in answer.headers) == ("theirs", True)
    assert (await asked(app)).json()["name"] == "ours"


async def test_the_application_itself_is_mounted() -> None:
    router, outer = a_router(), FastAPI()

    @router.get("/{name}")
    async def read(name: str) -> Shown:
        return Shown(name=name)

    app = app_of(router)
    outer.mount("/below", app)
    answer = await asked(outer, "/below/v1/things/x")
    assert answer.json() == {"name": "x", "secret": None}
    async with client_of(outer) as client:
        assert (await client.get("/below/v1/things/x")).status_code == 401


async def test_options_of_the_response_model_are_those_of_fastapi() -> None:
    router = a_router()

    @router.get("/without", response_model_exclude={"secret"})
    async def without() -> Shown:
        return Shown(name="x", secret="s")

    @router.get("/only", response_model_include={"secret"})
    async def only() -> Shown:
        return Shown(name="x", secret="s")

    @router.get("/sparse", response_model_exclude_none=True)
    async def sparse() -> Shown:
        return Shown(name="x")

    @router.get("/unset", response_model_exclude_unset=True)
    async def unset() -> Shown:
        return Shown(name="x")

    app = app_of(router)
    assert (await asked(app, "/v1/things/without")).json() == {"name": "x"}
    assert (await asked(app, "/v1/things/only")).json() == {"secret": "s"}
    assert (await asked(app, "/v1/things/sparse")).json() == {"name": "x"}
    assert (await asked(app, "/v1/things/unset")).json() == {"name": "x"}


async def test_what_is_not_a_model_of_ours_is_filtered_by_the_declared_one() -> None:
    router = a_router()

    @router.get("/dict", response_model=Plain)
    async def a_dict() -> dict[str, str]:
        return {"name": "x", "secret": "s"}

    @router.get("/wrong", response_model=Plain)
    async def wrong() -> dict[str, str]:
        return {"secret": "s"}

    @router.get("/any")
    async def anything() -> list[int]:
        return [1, 2]

    @router.get("/none")
    async def none() -> None:
        return None

    app = app_of(router)
    assert (await asked(app, "/v1/things/dict")).json() == {"name": "x"}
    assert (await asked(app, "/v1/things/wrong")).status_code == 500
    assert (await asked(app, "/v1/things/any")).json() == [1, 2]
    assert (await asked(app, "/v1/things/none")).json() is None


async def test_a_status_and_headers_are_set_on_the_response() -> None:
    router = a_router()

    @router.post("", status_code=201)
    async def create(response: Response, status: int = 0) -> Shown:
        if status:
            response.status_code = status
        response.headers["X-More"] = "yes"
        response.set_cookie("a", "b")
        return Shown(name="x")

    app = app_of(router)
    for query, status in (("", 201), ("?status=200", 200), ("?status=202", 202)):
        answer = await asked(app, f"/v1/things{query}", "POST")
        assert (answer.status_code, answer.headers["x-more"]) == (status, "yes")
        assert answer.cookies["a"] == "b"
        assert answer.json()["name"] == "x"
    answer = await asked(app, "/v1/things?status=204", "POST")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_a_ready_response_is_sent_as_it_is() -> None:
    router = a_router()

    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    @router.get("/text", response_class=PlainTextResponse)
    async def text() -> Response:
        return PlainTextResponse("plain")

    @router.get("/stream", response_class=StreamingResponse)
    async def stream() -> Response:
        return StreamingResponse(parts())

    app = app_of(router)
    answer = await asked(app, "/v1/things/text")
    assert (answer.text, answer.headers["content-type"]) == ("plain", "text/plain; charset=utf-8")
    assert (await asked(app, "/v1/things/stream")).text == "one two"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_head_and_options_are_methods_like_others(method: str) -> None:
    router = a_router()

    @router.api_route("", methods=["GET", method])
    async def read() -> Shown:
        return Shown(name="x")

    app = app_of(router)
    answer = await asked(app, method=method)
    assert answer.status_code == (await asked(app)).status_code == 200
    async with client_of(app) as client:
        assert (await client.request(method, "/v1/things")).status_code == 401


async def test_a_plain_route_of_fastapi_has_all_of_fastapi() -> None:
    app = app_of()
    called: list[str] = []

    async def given() -> AsyncIterator[str]:
        yield "given"
        called.append("closed")

    @app.get("/plain/{rest:path}")
    def plain(rest: str, value: Annotated[str, Depends(given)], after: BackgroundTasks) -> str:
        after.add_task(called.append, "afterwards")
        return f"{value} {rest}"

    assert (await asked(app, "/plain/a/b")).json() == "given a/b"
    assert sorted(called) == ["afterwards", "closed"]


# What fails when the route is declared.


def _sync(router: ScopedRouter) -> None:
    @router.get("")
    def read() -> Shown:
        return Shown(name="x")


def _generator(router: ScopedRouter) -> None:
    @router.get("")
    async def read() -> AsyncIterator[Shown]:
        yield Shown(name="x")


def _converter(router: ScopedRouter) -> None:
    @router.get("/{rest:path}")
    async def read(rest: str) -> None: ...


def _part_of_a_segment(router: ScopedRouter) -> None:
    @router.get("/{name}.json")
    async def read(name: str) -> None: ...


def _tasks(router: ScopedRouter) -> None:
    @router.get("")
    async def read(tasks: BackgroundTasks) -> None: ...


def _cookie(router: ScopedRouter) -> None:
    @router.get("")
    async def read(session: Annotated[str, Cookie()]) -> None: ...


def _security_scopes(router: ScopedRouter) -> None:
    @router.get("")
    async def read(scopes: SecurityScopes) -> None: ...


def _websocket(router: ScopedRouter) -> None:
    @router.get("")
    async def read(socket: WebSocket) -> None: ...


def _connection(router: ScopedRouter) -> None:
    @router.get("")
    async def read(connection: HTTPConnection) -> None: ...


def _dependency(router: ScopedRouter) -> None:
    @router.get("")
    async def read(value: Annotated[None, Depends(nothing)]) -> None: ...


async def _yields() -> AsyncIterator[str]:
    yield "x"


def _yield_dependency(router: ScopedRouter) -> None:
    @router.get("")
    async def read(value: Annotated[str, Depends(_yields)]) -> None: ...


def _security(router: ScopedRouter) -> None:
    @router.get("")
    async def read(value: Annotated[None, Security(nothing, scopes=["a"])]) -> None: ...


def _dependencies_of_the_route(router: ScopedRouter) -> None:
    @router.get("", dependencies=[Depends(nothing)])
    async def read() -> None: ...


def _dependencies_of_the_router(_router: ScopedRouter) -> None:
    other = APIRouter(route_class=guarded(Scope.HOLDS_WRITE), dependencies=[Depends(nothing)])

    @other.get("/v1/things")
    async def read() -> None: ...


def _model_of_the_query(router: ScopedRouter) -> None:
    @router.get("")
    async def read(query: Annotated[Plain, Query()]) -> None: ...


def _twice(router: ScopedRouter) -> None:
    @router.get("")
    async def read(page: Paging, limit: int = 1) -> None: ...


def _body_of_a_get(router: ScopedRouter) -> None:
    @router.get("")
    async def read(body: Plain) -> None: ...


def _form(router: ScopedRouter) -> None:
    @router.post("")
    async def create(name: Annotated[str, Form()]) -> None: ...


def _two_bodies(router: ScopedRouter) -> None:
    @router.post("")
    async def create(one: Plain, other: Plain) -> None: ...


def _embedded(router: ScopedRouter) -> None:
    @router.post("")
    async def create(one: Annotated[Plain, Body(embed=True)]) -> None: ...


def _lenient_content_type(_router: ScopedRouter) -> None:
    other = APIRouter(route_class=guarded(Scope.HOLDS_WRITE), strict_content_type=False)

    @other.post("/v1/things")
    async def create(one: Plain) -> None: ...


def _body_size(router: ScopedRouter) -> None:
    @router.post("", max_body_size=10)
    async def create(one: Plain) -> None: ...


def _response_class(router: ScopedRouter) -> None:
    @router.get("", response_class=PlainTextResponse)
    async def read() -> str:
        return "x"


def _no_annotation(router: ScopedRouter) -> None:
    @router.get("")
    async def read():  # type: ignore[no-untyped-def] # that is the point
        return {"name": "x"}


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (_sync, r"GET /v1/things \(read\) is not a coroutine function; declare it with `async def`"),
        (_generator, "yields its answer; return a StreamingResponse"),
        (_converter, r"has the segment '\{rest:path\}'; a parameter is one whole segment"),
        (_part_of_a_segment, r"has the segment '\{name\}.json'"),
        (_tasks, "asks for BackgroundTasks, which would not run"),
        (_cookie, "asks for a cookie"),
        (_security_scopes, "asks for SecurityScopes"),
        (_websocket, "asks for a WebSocket"),
        (_connection, "asks for an HTTPConnection"),
        (_dependency, "depends on nothing, which would not be called"),
        (_yield_dependency, "depends on _yields, which would not be called"),
        (_security, "depends on nothing, which would not be called"),
        (_dependencies_of_the_route, "has `dependencies=.*`, which would not be called"),
        (_dependencies_of_the_router, "has `dependencies=.*`, which would not be called"),
        (_model_of_the_query, "describes its query by a model"),
        (_twice, "reads one parameter of the query twice"),
        (_body_of_a_get, "has a body, which is not read for this method"),
        (_form, "takes a form; bodies are JSON"),
        (_two_bodies, "has several bodies, or an embedded one"),
        (_embedded, "has several bodies, or an embedded one"),
        (_lenient_content_type, "a body always needs its media type"),
        (_body_size, "has `max_body_size`; BODY_MAX is the limit"),
        (_response_class, "has a response class, which would not render its answer"),
        (_no_annotation, "has neither a return annotation nor a response_model"),
    ],
)  # fmt: skip
def test_a_route_that_would_not_get_what_it_asks_for_is_refused(
    declare: Declare, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi.dependencies.utils.ensure_multipart_is_installed", lambda: None)
    with pytest.raises(UnsupportedRoute, match=sentence):
        declare(a_router())


# What fails when the application starts.


@pytest.mark.parametrize(
    ("inclusion", "sentence"),
    [
        ({"dependencies": [Depends(nothing)]}, "has `dependencies=.*`, which would not be called"),
        ({"default_response_class": PlainTextResponse}, "has a response class"),
        ({"max_body_size": 10}, "has `max_body_size`"),
        ({"prefix": "/{tenant}"}, "is included with a prefix that has a parameter"),
    ],
)
async def test_an_inclusion_that_would_be_ignored_is_refused(
    inclusion: dict[str, Any], sentence: str
) -> None:
    router, app = a_router(), app_of()
    router.add_api_route("", _shown, methods=["GET"])
    app.include_router(router, **inclusion)
    with pytest.raises(UnsupportedRoute, match=sentence):
        await start(app)


async def _shown() -> Shown:
    return Shown(name="x")


@pytest.mark.parametrize(
    "order",
    [
        ["/{name}", "/plain"],
        ["/{name}/parts", "/plain/{part}"],
        ["/plain/{part}", "/{name}/parts"],
    ],
)
async def test_paths_of_which_fastapi_would_choose_another_are_refused(order: list[str]) -> None:
    router = a_router()
    for path in order:
        router.add_api_route(path, nothing, methods=["GET"])
    with pytest.raises(UnsupportedRoute, match="matches some of the same paths"):
        await start(app_of(router))


@pytest.mark.parametrize("path", ["/v1/things/plain", "/v1/{anything:path}", "/v1/{a}/{b}"])
async def test_a_plain_route_before_a_guarded_one_of_the_same_paths_is_refused(path: str) -> None:
    plain, router = APIRouter(), a_router()
    plain.add_api_route(path, nothing, methods=["GET"])
    router.add_api_route("/{name}", nothing, methods=["GET"])
    with pytest.raises(UnsupportedRoute, match="matches some of the same paths"):
        await start(app_of(plain, router))
    assert (await asked(app_of(router, plain), "/v1/things/plain")).status_code == 200


async def test_the_first_of_two_equal_paths_answers() -> None:
    router = a_router()

    async def first(name: str) -> Shown:
        return Shown(name=f"first {name}")

    async def second(other: str) -> Shown:
        return Shown(name=f"second {other}")

    router.add_api_route("/plain", _shown, methods=["GET"])
    router.add_api_route("/{name}", first, methods=["GET"])
    router.add_api_route("/{other}", second, methods=["GET"])
    app = app_of(router)
    assert (await asked(app, "/v1/things/y")).json()["name"] == "first y"
    assert (await asked(app, "/v1/things/plain")).json()["name"] == "x"


@pytest.mark.parametrize("kind", [Exception, 500])
async def test_a_handler_of_unexpected_errors_is_refused(kind: Any) -> None:
    app = app_of()
    app.add_exception_handler(kind, lambda *_: Response())
    with pytest.raises(UnsupportedRoute, match="would not be called: EdgeMiddleware answers"):
        await start(app)


def test_an_override_of_a_dependency_is_refused_where_it_is_made() -> None:
    app = app_of(a_router())
    with pytest.raises(UnsupportedRoute, match="dependency_overrides is not read"):
        app.dependency_overrides[nothing] = nothing
    with pytest.raises(UnsupportedRoute, match="dependency_overrides is not read"):
        app.dependency_overrides.update({nothing: nothing})


async def test_a_server_does_not_start_with_what_is_refused() -> None:
    router, app = a_router(), app_of()
    router.add_api_route("", _shown, methods=["GET"])
    app.include_router(router, dependencies=[Depends(nothing)])

    async def receive() -> dict[str, str]:
        return {"type": "lifespan.startup"}

    async def send(_message: Any) -> None:
        raise AssertionError("the start was answered")

    with pytest.raises(UnsupportedRoute):
        await app({"type": "lifespan"}, receive, send)
