"""Valid queries are validated once, by query string and by parameter."""

from typing import Any
from urllib.parse import urlencode

import pytest
from fastapi.dependencies.utils import get_dependant, request_params_to_args
from fastapi.exceptions import RequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from app.transport.http.pipeline.arguments import CACHED_BYTES_MAX, CACHED_MAX, Arguments
from app.transport.http.pipeline.dependencies import Page, Paging


def asked(query: str) -> Request:
    return Request(
        {"type": "http", "headers": [], "path_params": {}, "query_string": query.encode()}
    )


def arguments(*, caches_queries: bool) -> Arguments:
    def listed(paging: Paging, adults: int = 1, name: str = "") -> None: ...

    return Arguments(get_dependant(path="/", call=listed), None, {}, caches_queries=caches_queries)


CACHED, UNCACHED = arguments(caches_queries=True), arguments(caches_queries=False)


@pytest.fixture
def endpoint() -> Arguments:
    return arguments(caches_queries=True)


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    seen: list[object] = []

    def counted(fields: Any, received: Any) -> Any:
        seen.append(received)
        return request_params_to_args(fields, received)

    monkeypatch.setattr(Arguments.__module__ + ".request_params_to_args", counted)
    return seen


def of(endpoint: Arguments, query: str) -> dict[str, Any]:
    return dict(endpoint.of(asked(query), {}, None))


def test_a_query_is_validated_once(endpoint: Arguments, readings: list[object]) -> None:
    for _ in range(3):
        assert of(endpoint, "adults=2") == {"paging": Page(50, None), "adults": 2, "name": ""}
        assert of(endpoint, "adults=3&limit=7")["paging"] == Page(7, None)
        assert of(endpoint, "adults=3&limit=7")["adults"] == 3
    assert len(readings) == 4 + 2, "all four parameters, then the two that differ"


@pytest.mark.parametrize("query", ["adults=two", "limit=0", "adults=2&limit=x"])
def test_an_invalid_query_is_not_cached(endpoint: Arguments, query: str) -> None:
    for _ in range(2):
        with pytest.raises(RequestValidationError):
            of(endpoint, query)


def test_the_cache_is_bounded(endpoint: Arguments, readings: list[object]) -> None:
    long = "name=" + "x" * (CACHED_BYTES_MAX + 1)
    for _ in range(2):
        of(endpoint, long)
    assert len(readings) == 4 + 1
    readings.clear()
    often = "name=&" * 1000 + "name=x"
    for _ in range(2):
        assert of(endpoint, often)["name"] == "x"
    assert len(readings) == 2, "repeated parameters are not cached"
    for number in range(CACHED_MAX + 1):
        of(endpoint, f"adults={number}")
    readings.clear()
    of(endpoint, "adults=0")
    assert readings, "the first was evicted"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["adults", "name", "limit", "after"]),
            st.sampled_from(["", "1", "2", "7", "x", "none"]),
        ),
        max_size=5,
    )
)
def test_cached_values_equal_validated_ones(pairs: list[tuple[str, str]]) -> None:
    """Also where a parameter is missing, empty, given twice, or wrong."""
    query = urlencode(pairs)

    def outcome(endpoint: Arguments) -> object:
        try:
            return of(endpoint, query)
        except RequestValidationError as error:
            return error.errors()

    assert outcome(CACHED) == outcome(UNCACHED)


def test_queries_that_may_be_personal_are_not_cached(readings: list[object]) -> None:
    def found(family_name: str) -> None: ...

    endpoint = Arguments(get_dependant(path="/", call=found), None, {}, caches_queries=False)
    for _ in range(3):
        assert of(endpoint, "family_name=Parra") == {"family_name": "Parra"}
    assert len(readings) == 3
