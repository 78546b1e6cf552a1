"""The documentation page in a real browser: a reader authorizes, searches, holds and books by clicking.

The examples are tried as they stand. The browser can reach nothing but the program itself.
"""

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import ConsoleMessage, Locator, Page, Request, async_playwright, expect

from app.clock import utc_now
from app.dev.example import example_flight
from app.transport.http.openapi.examples import DAYS_AHEAD
from app.transport.http.wire.flights import flight_out
from tests.fixtures.api import Api

CHROMIUM = os.environ.get("CHROMIUM") or "/usr/bin/chromium"
FLAGS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
WAIT_MS = 10_000


class Docs:
    """The page, open, and everything that went wrong or elsewhere while it was used."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.wrong: list[str] = []
        self._url = url
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("console", self._judge_message)
        page.on("request", self._judge_request)

    async def open(self, path: str = "/docs") -> None:
        await self.page.goto(self._url + path)

    async def authorize(self, client: str = "demo") -> None:
        await self.page.locator("button.authorize").click()
        dialog = self.page.locator(".modal-ux")
        await expect(dialog.locator("#client_id_clientCredentials")).to_have_value("demo")
        await dialog.locator("#client_id_clientCredentials").fill(client)
        await dialog.locator("#client_secret_clientCredentials").fill(client)
        await dialog.get_by_role("button", name="Apply given OAuth2 credentials").click()
        await expect(dialog.get_by_text("Logout")).to_be_visible()
        await dialog.locator(".close-modal").click()

    async def execute(self, operation: str) -> tuple[str, Any]:
        """The status and the body of the answer, as a reader sees them."""
        block = self.page.locator(f"[id$='-{operation}']")
        execute = block.get_by_role("button", name="Execute")
        if not await execute.is_visible():
            await block.locator(".opblock-summary-control").click()
        async with self.page.expect_response(_of_the_interface) as answered:
            await execute.click()
        answer = await answered.value
        shown = _status(block)
        await expect(shown).to_have_text(str(answer.status))
        return await shown.inner_text(), await answer.json()

    def _judge_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(message.text)

    def _judge_request(self, request: Request) -> None:
        if not request.url.startswith((self._url, "data:")):
            self.wrong.append(f"asked for {request.url}")


@pytest.fixture(scope="session")
async def on_sale(api: Api) -> str:
    """The flight that the examples are about, as the sample network has it."""
    flight = example_flight(utc_now().date() + DAYS_AHEAD)
    body = flight_out(flight).model_dump(mode="json", exclude={"id", "version"})
    for when in ("departing_at", "arriving_at"):
        del body[when]["utc"]
    answer = await api.ops.put(f"/v1/flights/{flight.flight_id}", json=body)
    assert answer.status_code in (200, 201), answer.text
    return flight.flight_id


@pytest.fixture
async def docs(api: Api) -> AsyncIterator[Docs]:
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=flags
        )
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MS)
        docs = Docs(page, api.url)
        await docs.open()
        yield docs
        await browser.close()
        assert docs.wrong == []


async def test_a_reader_sells_a_seat_by_clicking(docs: Docs, api: Api, on_sale: str) -> None:
    await docs.authorize()
    status, offers = await docs.execute("list_offers")
    assert (status, offers["data"][0]["slices"][0]["segments"][0]["flight_id"]) == ("200", on_sale)
    status, hold = await docs.execute("place_hold")
    assert (status, hold["status"]) == ("201", "active")
    status, booking = await docs.execute("create_booking")
    assert (status, booking["hold_id"]) == ("201", hold["id"])

    status, found = await docs.execute("find_booking")
    assert (status, found["id"]) == ("200", booking["id"])
    status, held = await docs.execute("read_hold")
    assert (status, held["booking_id"]) == ("200", booking["id"])
    status, cancelled = await docs.execute("cancel_booking")
    assert (status, cancelled["status"]) == ("200", "cancelled")
    await api.until(
        "SELECT count(*) FROM outbox WHERE aggregate_id = :id AND position IS NOT NULL",
        [(2,)],
        id=booking["id"],
    )
    status, events = await docs.execute("list_events")
    assert (status, booking["id"]) in [("200", one["aggregate"]["id"]) for one in events["data"]]


async def test_each_execution_is_a_new_request(docs: Docs, on_sale: str) -> None:
    await docs.authorize()
    pairs = set()
    for _ in range(2):
        _, hold = await docs.execute("place_hold")
        status, booking = await docs.execute("create_booking")
        assert (status, booking["hold_id"]) == ("201", hold["id"])
        pairs.add((hold["id"], booking["id"]))
    assert len(pairs) == 2


async def test_the_airline_puts_a_flight_and_changes_it(docs: Docs) -> None:
    await docs.authorize("ops")
    status, flight = await docs.execute("put_flight")
    assert (status, flight["version"]) == ("201", 1)
    status, availability = await docs.execute("change_inventory")
    assert (status, availability["flight_id"]) == ("200", flight["id"])


async def test_a_refusal_leads_to_its_explanation(docs: Docs) -> None:
    status, problem = await docs.execute("list_routes")
    assert (status, problem["code"]) == ("401", "unauthenticated")
    await docs.open(problem["type"])
    section = docs.page.locator("section:target")
    await expect(section.locator("h2")).to_contain_text(problem["title"])
    await expect(section.get_by_text("What to do")).to_be_in_viewport()
    docs.wrong = [text for text in docs.wrong if "401" not in text]  # the browser's own remark


async def test_authorizing_begins_with_the_client_that_is_filled_in(docs: Docs) -> None:
    await docs.page.locator("button.authorize").click()
    dialog = docs.page.locator(".modal-ux")
    await expect(dialog.locator("#client_id_clientCredentials")).to_be_focused()
    await expect(dialog.get_by_role("heading", name="oauth2")).to_be_in_viewport()


async def test_a_wrong_secret_is_said(docs: Docs) -> None:
    await docs.page.locator("button.authorize").click()
    dialog = docs.page.locator(".modal-ux")
    await dialog.locator("#client_secret_clientCredentials").fill("wrong")
    await dialog.get_by_role("button", name="Apply given OAuth2 credentials").click()
    await expect(dialog.locator(".errors").first).to_contain_text("Unknown client or wrong secret.")
    docs.wrong = [text for text in docs.wrong if "401" not in text]  # the browser's own remark


def _of_the_interface(answer: Any) -> bool:
    return "/v1/" in answer.url


def _status(block: Locator) -> Locator:
    return block.locator(".live-responses-table tbody .response-col_status")
