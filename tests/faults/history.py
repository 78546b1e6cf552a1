"""The history of a run: every request and its answer, in the order of their ends.

One runner writes it, with one clock; the checker knows the clients only from it. An operation is written once,
when its outcome is known: `ok` for a 2xx answer, `refused` for any other answer, `unknown` if the client got no
complete answer. On disk it is one JSON object for each line.
"""

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

OK = "ok"
REFUSED = "refused"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Operation:
    """One delivery of one request. Retries are operations of their own, with the same `key`."""

    number: int
    client: str
    process: str  # the API process that received it, or the load balancer's name
    kind: str  # hold | get_hold | extend | release | book | get_booking | cancel | availability |
    #            patch | events
    tenant: str
    key: str | None  # the Idempotency-Key
    subject: str | None  # the hold, booking or flight in the path; of a book: the hold in the body
    request: dict[str, Any]  # the JSON body, or the query
    request_id: str
    invoked_at: float  # seconds of the runner's monotonic clock
    completed_at: float | None  # None if no complete answer came
    outcome: str  # ok | refused | unknown
    status: int | None
    code: str | None  # the problem's
    answer: dict[str, Any] | None
    headers: dict[str, str]  # names in small letters
    digest: str | None = None  # SHA-256 of the answer's bytes, where the recorder kept it

    def summary(self) -> str:
        """The operation in one line, for reports."""
        until = f"{self.completed_at:.3f}" if self.completed_at is not None else "never"
        what = " ".join(
            part
            for part in (
                self.kind,
                self.subject or _identity(self.answer),
                f"key={self.key}" if self.key else None,
            )
            if part
        )
        came = f"{self.status}" + (f" {self.code}" if self.code else "") if self.status else "?"
        return (
            f"#{self.number} {self.client}@{self.process} {self.invoked_at:.3f}–{until} "
            f"{what} → {self.outcome} {came}"
        )


class History:
    """Operations in the order of their ends. Thread-safe; an iteration sees a copy."""

    def __init__(self) -> None:
        self._operations: list[Operation] = []
        self._lock = threading.Lock()

    def append(self, operation: Operation) -> None:
        with self._lock:
            self._operations.append(operation)

    def operations(self) -> tuple[Operation, ...]:
        with self._lock:
            return tuple(self._operations)

    def __len__(self) -> int:
        return len(self._operations)

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            for operation in self.operations():
                file.write(json.dumps(_as_json(operation), separators=(",", ":")))
                file.write("\n")

    @classmethod
    def read(cls, path: Path) -> "History":
        history = cls()
        with path.open(encoding="utf-8") as file:
            for line in file:
                history.append(Operation(**json.loads(line)))
        return history


_NAMES = tuple(field.name for field in fields(Operation))


def _as_json(operation: Operation) -> Mapping[str, Any]:
    return {name: getattr(operation, name) for name in _NAMES}


def _identity(answer: dict[str, Any] | None) -> str | None:
    found = None if answer is None else answer.get("id")
    return found if isinstance(found, str) else None
