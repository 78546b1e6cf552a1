"""Services: each application gives its own to the same routes, and a missing one stops the start."""

from typing import Annotated, Protocol

import pytest
from fastapi import Depends

from app.identity.principal import Scope
from app.transport.http.application import Application, create_app
from app.transport.http.pipeline.guarded_route import ScopedRouter
from app.transport.http.pipeline.services import GivenService, Service
from app.transport.http.pipeline.supported import UnsupportedRoute
from app.transport.http.wire.schemas import Output
from tests.transport.http.tiny import GOOD, authenticate, client_of


class Names(Protocol):
    def name(self, number: int) -> str: ...


class Shown(Output):
    name: str


NAMES = Service[Names]("names")
NamesService = Annotated[Names, Depends(NAMES)]
router = ScopedRouter(scope=Scope.HOLDS_WRITE, prefix="/v1/names")


@router.get("/{number}")
async def read_name(names: NamesService, number: int) -> Shown:
    return Shown(name=names.name(number))


class Numbered:
    def __init__(self, text: str) -> None:
        self._text = text

    def name(self, number: int) -> str:
        return f"{self._text} {number}"


def app_with(*services: GivenService) -> Application:
    return create_app(
        authenticate=authenticate, routers=[router], services=services, checks={}, version="0"
    )


async def test_one_router_serves_two_applications_with_their_own_services() -> None:
    first = app_with(NAMES.given(Numbered("first")))
    second = app_with(NAMES.given(Numbered("second")))
    for app, text in ((first, "first 7"), (second, "second 7"), (first, "first 7")):
        async with client_of(app) as client:
            answer = await client.get("/v1/names/7", headers=GOOD)
        assert answer.json() == {"name": text}


async def test_an_application_without_a_needed_service_does_not_start() -> None:
    needed = r"/v1/names/\{number\} \(read_name\) needs the service names; give it to create_app"
    with pytest.raises(UnsupportedRoute, match=needed):
        async with client_of(app_with()) as client:
            await client.get("/livez")


def test_a_service_is_no_parameter_of_the_document() -> None:
    operation = app_with().openapi()["paths"]["/v1/names/{number}"]["get"]
    assert [parameter["name"] for parameter in operation["parameters"]] == ["number"]
    assert "requestBody" not in operation
