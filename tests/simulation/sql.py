"""Maps each SQL statement of the stores to the handler that does the same in the simulator.

A statement is known by a digest of its text. A new or changed statement has no handler and raises
UnknownStatement with its digest and text; write a handler for it, with `@means(digest)`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import TextClause
from sqlalchemy.dialects import postgresql

from tests.simulation.rows import Rows

if TYPE_CHECKING:
    from tests.simulation.postgres import Transaction

Handler = Callable[["Transaction", Mapping[str, Any]], Rows]
HANDLERS: dict[str, tuple[str, Handler]] = {}
"""By the digest of the text: a name for traces, and the handler."""

_dialect = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
_digests: dict[str, str] = {}


class UnknownStatement(Exception):
    """The simulator has no handler for this statement."""


@dataclass(frozen=True, slots=True)
class Statement:
    name: str
    handler: Handler
    parameters: Mapping[str, Any] | list[Mapping[str, Any]]

    def run(self, transaction: "Transaction") -> Rows:
        if isinstance(self.parameters, list):
            return Rows(
                rowcount=sum(self.handler(transaction, p).rowcount for p in self.parameters)
            )
        return self.handler(transaction, self.parameters)


def means(digest: str) -> Callable[[Handler], Handler]:
    """Register the function as the handler of the statement with this digest."""

    def add(handler: Handler) -> Handler:
        assert digest not in HANDLERS, f"{digest} has a handler already"
        HANDLERS[digest] = (handler.__name__, handler)
        return handler

    return add


def resolve(statement: Any, parameters: Any) -> Statement:
    many = isinstance(parameters, (list, tuple))
    if isinstance(statement, TextClause) or hasattr(statement, "element"):
        text = statement.text if isinstance(statement, TextClause) else statement.element.text
        values: Any = list(parameters) if many else parameters or {}
    else:
        compiled = _compile(statement)
        text = compiled.string
        values = list(parameters) if many else compiled.construct_params(parameters)
    name, handler = meaning_of(text)
    return Statement(name, handler, values)


def meaning_of(text: str) -> tuple[str, Handler]:
    digest = digest_of(text)
    try:
        return HANDLERS[digest]
    except KeyError:
        raise UnknownStatement(f"{digest} has no handler in tests/simulation: {text}") from None


def digest_of(text: str) -> str:
    digest = _digests.get(text)
    if digest is None:
        plain = " ".join(text.split())
        digest = _digests[text] = hashlib.sha256(plain.encode()).hexdigest()[:12]
    return digest


@lru_cache(maxsize=64)  # the stores have fewer statements that are built once, at import
def _compile(statement: Any) -> Any:
    """Compile a statement once; only its bound parameters differ from call to call."""
    return statement.compile(dialect=_dialect)
