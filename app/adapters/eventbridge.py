"""Publishes events to Amazon EventBridge: its limits, how it counts bytes, and what its answers mean.

`Source` is `holdfast`, `DetailType` the event's type, `Detail` its envelope, `Time` when it happened.
A batch is sent in requests of at most ten entries, one after the other in the given order. Nothing is sent
twice from here, and boto's own retries are off: the relay publishes refused events again, and those alone,
after a pause with jitter. Once the bus throttles or is unreachable, the rest of the batch is refused unsent.
Region and credentials are found as AWS's tools find them; neither is logged.
"""

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import aioboto3
from aiobotocore.config import AioConfig
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError

from app.outbox.model import Event
from app.outbox.publisher import Accepted, Outcome, Refused

SOURCE: Final = "holdfast"
ENTRIES_MAX: Final = 10  # of one PutEvents
MAX_BYTES: Final = 262_144
"""The limit of every region. AWS announced 1 MiB in January 2026, but its pages on sizes still say 256 KB. An
event of ours is about a kilobyte, so the smaller limit costs nothing."""

_TIME_BYTES = 14
_LOCAL_REGION = "us-east-1"  # for signatures to an endpoint of one's own, which has no regions

# The event itself is at fault and would be refused again. A missing permission can be granted.
_FAULTS: Mapping[str, str] = {
    "InvalidArgument": "invalid_argument",
    "MalformedDetail": "malformed_detail",
    "RedactionFailure": "redaction_failure",
    "RequestEntityTooLarge": "too_large",
    "RequestEntityTooLargeException": "too_large",
    "SerializationException": "rejected",
    "ValidationError": "rejected",
    "ValidationException": "rejected",
}
_RETRYABLE: Mapping[str, str] = {
    "AccessDenied": "access_denied",
    "AccessDeniedException": "access_denied",
    "ExpiredToken": "access_denied",
    "ExpiredTokenException": "access_denied",
    "IncompleteSignature": "access_denied",
    "InvalidAccountIdException": "access_denied",
    "InvalidClientTokenId": "access_denied",
    "InvalidSignatureException": "access_denied",
    "MissingAuthenticationToken": "access_denied",
    "NotAuthorizedForDetailTypeException": "access_denied",
    "NotAuthorizedForSourceException": "access_denied",
    "SignatureDoesNotMatch": "access_denied",
    "UnrecognizedClientException": "access_denied",
    "InternalException": "bus_failed",
    "InternalFailure": "bus_failed",
    "ServiceUnavailable": "bus_failed",
    "LimitExceededException": "throttled",
    "RequestLimitExceeded": "throttled",
    "Throttling": "throttled",
    "ThrottlingException": "throttled",
    "TooManyRequestsException": "throttled",
    "ResourceNotFoundException": "no_such_bus",
}
_NEW_CLIENT = frozenset({"access_denied", "no_credentials"})


@dataclass(frozen=True, slots=True)
class Timeouts:
    """`batch_seconds` is shorter than the relay's deadline, so that accepted events are reported."""

    connect_seconds: float = 1.0
    read_seconds: float = 2.0
    batch_seconds: float = 2.5


class EventBridge:
    def __init__(
        self,
        bus_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        max_bytes: int = MAX_BYTES,
        timeouts: Timeouts | None = None,
    ) -> None:
        """Raises ValueError if no region is set. Connects with the first batch."""
        self._bus_name = bus_name
        self._region = region or _region_of_environment() or (endpoint_url and _LOCAL_REGION)
        if not self._region:
            raise ValueError("AWS_REGION or AWS_DEFAULT_REGION must be set")
        self._endpoint_url = endpoint_url
        self._max_bytes = max_bytes
        self._timeouts = timeouts or Timeouts()
        self._client: Any = None
        self._open = AsyncExitStack()

    async def publish(self, batch: Sequence[Event]) -> Sequence[Outcome]:
        outcomes: dict[int, Outcome] = {}
        entries: list[_Entry] = []
        for place, event in enumerate(batch):
            try:
                entries.append(self._entry(place, event))
            except _AtFault as fault:
                outcomes[place] = Refused(retryable=False, reason=fault.reason)
        rest = "timeout"
        try:
            async with asyncio.timeout(self._timeouts.batch_seconds):
                await self._send(_packed(entries, self._max_bytes), outcomes)
        except TimeoutError:
            pass
        except _Unavailable as error:
            rest = error.reason
            if rest in _NEW_CLIENT:  # a client of boto looks for credentials only once
                await self.close()
        return [
            outcomes.get(place, Refused(retryable=True, reason=rest)) for place in range(len(batch))
        ]

    async def close(self) -> None:
        opened, self._open, self._client = self._open, AsyncExitStack(), None
        await opened.aclose()

    def _entry(self, place: int, event: Event) -> "_Entry":
        try:
            detail = json.dumps(
                event.to_json(), separators=(",", ":"), ensure_ascii=False, allow_nan=False
            )
            fields = {
                "Time": event.occurred_at,
                "Source": SOURCE,
                "DetailType": event.type,
                "Detail": detail,
                "EventBusName": self._bus_name,
            }
            size = entry_bytes(fields)
        except (TypeError, ValueError):
            raise _AtFault("malformed_detail") from None
        if size >= self._max_bytes:
            raise _AtFault("too_large")
        return _Entry(place, fields, size)

    async def _send(
        self, requests: Iterable[Sequence["_Entry"]], outcomes: dict[int, Outcome]
    ) -> None:
        """Adds outcomes as they become known. Raises _Unavailable if the rest should not be sent."""
        waiting = deque(requests)
        while waiting:
            request = waiting.popleft()
            try:
                answers = await self._put(request)
            except _AtFault as fault:
                if len(request) > 1:  # one of them is at fault: each is sent by itself
                    waiting.extendleft([entry] for entry in reversed(request))
                    continue
                answers = [Refused(retryable=False, reason=fault.reason)]
            for entry, answer in zip(request, answers, strict=True):
                outcomes[entry.place] = answer
            if Refused(retryable=True, reason="throttled") in answers:
                raise _Unavailable("throttled")

    async def _put(self, request: Sequence["_Entry"]) -> Sequence[Outcome]:
        """One PutEvents. Raises _AtFault or _Unavailable if it was refused as a whole."""
        try:
            client = await self._connected()
            answer = await client.put_events(Entries=[entry.fields for entry in request])
        except boto.ClientError as error:
            response = error.response
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            refused = _refusal(response.get("Error", {}).get("Code", ""), status)
            raise (_Unavailable if refused.retryable else _AtFault)(refused.reason) from None
        except (boto.ConnectTimeoutError, boto.ReadTimeoutError):
            raise _Unavailable("timeout") from None
        except (boto.ConnectionError, boto.HTTPClientError):
            raise _Unavailable("connection_failed") from None
        except (
            boto.NoCredentialsError,
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
        ):
            raise _Unavailable("no_credentials") from None
        except (ResponseParserError, AttributeError, TypeError, ValueError):
            # boto raises the last three for an answer that is JSON of another shape.
            raise _Unavailable("bad_answer") from None
        results = (answer or {}).get("Entries") or []
        if len(results) != len(request):
            raise _Unavailable("bad_answer")
        return [_outcome(result) for result in results]

    async def _connected(self) -> Any:
        """One client, kept open: creating it takes 0.1 s of CPU time."""
        if self._client is None:
            config = AioConfig(
                connect_timeout=self._timeouts.connect_seconds,
                read_timeout=self._timeouts.read_seconds,
                retries={"total_max_attempts": 1, "mode": "standard"},
            )
            session = aioboto3.Session(region_name=self._region)
            self._client = await self._open.enter_async_context(
                session.client("events", endpoint_url=self._endpoint_url, config=config)
            )
        return self._client


def entry_bytes(entry: Mapping[str, Any]) -> int:
    """The size as AWS counts it: texts in UTF-8, 14 for a time, nothing for names or the bus.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevents.html
    """
    texts = [
        entry["Source"],
        entry["DetailType"],
        entry.get("Detail", ""),
        *entry.get("Resources", ()),
    ]
    return sum(len(text.encode()) for text in texts) + (_TIME_BYTES if "Time" in entry else 0)


@dataclass(frozen=True, slots=True)
class _Entry:
    place: int  # in the batch
    fields: Mapping[str, Any]
    size: int


class _NotAccepted(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _AtFault(_NotAccepted):
    """The event is refused, however often it is sent."""


class _Unavailable(_NotAccepted):
    """The bus accepts nothing now, or cannot be reached."""


def _packed(entries: Iterable[_Entry], max_bytes: int) -> Iterator[Sequence[_Entry]]:
    """In order, as many entries in a request as fit; its size is the sum of its entries."""
    request: list[_Entry] = []
    size = 0
    for entry in entries:
        if request and (len(request) == ENTRIES_MAX or size + entry.size >= max_bytes):
            yield request
            request, size = [], 0
        request.append(entry)
        size += entry.size
    if request:
        yield request


def _outcome(result: Mapping[str, Any]) -> Outcome:
    code = result.get("ErrorCode")
    if code:
        return _refusal(code)
    return Accepted() if result.get("EventId") else Refused(retryable=True, reason="bad_answer")


def _refusal(code: str, status: int = 0) -> Refused:
    """An unknown code is retryable: most codes that AWS may add are about the service."""
    if code in _FAULTS or status == 413:
        return Refused(retryable=False, reason=_FAULTS.get(code, "too_large"))
    if code in _RETRYABLE:
        return Refused(retryable=True, reason=_RETRYABLE[code])
    if status == 429:
        return Refused(retryable=True, reason="throttled")
    return Refused(retryable=True, reason="bus_failed" if status >= 500 else "unknown_error")


def _region_of_environment() -> str | None:
    """AWS_DEFAULT_REGION or the profile's; AWS_REGION, which boto does not read, comes from the settings."""
    try:
        region: str | None = aioboto3.Session().region_name
    except boto.BotoCoreError as error:
        raise ValueError(str(error)) from None
    return region
