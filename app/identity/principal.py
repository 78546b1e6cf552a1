"""The authenticated caller: a tenant, a client, a subject and scopes."""

from dataclasses import dataclass
from enum import StrEnum

from app.identity.errors import ScopeMissing
from app.ids import TenantId


class Scope(StrEnum):
    OFFERS_READ = "offers:read"
    HOLDS_WRITE = "holds:write"
    BOOKINGS_WRITE = "bookings:write"
    EVENTS_READ = "events:read"
    INVENTORY_ADMIN = "inventory:admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """`tenant_id` is the only source of the tenant anywhere; `client_id` and `subject` are asserted
    by the issuer, printable, 1-255 characters.
    """

    tenant_id: TenantId
    client_id: str
    subject: str
    scopes: frozenset[Scope]

    def require(self, scope: Scope) -> None:
        """Raises ScopeMissing."""
        if scope not in self.scopes:
            raise ScopeMissing(scope.value)
