"""Services: the objects that an application hands to its endpoints.

A router declares what it needs by a Protocol of the methods that it calls:

    class Holds(Protocol): ...

    HOLDS = Service[Holds]("holds")
    HoldsService = Annotated[Holds, Depends(HOLDS)]

    @router.get("/{hold_id}")
    async def read_hold(holds: HoldsService, hold_id: str) -> HoldOut: ...

`create_app(services=[HOLDS.given(service)])` says which object that is. It is looked up once, when the
application starts, so that a request pays nothing for it.
"""

from typing import Any, Generic, TypeVar

T = TypeVar("T")

GivenService = tuple["Service[Any]", Any]


class Service(Generic[T]):
    """Compared by identity; the name is for messages."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> Any:
        """FastAPI reads its signature, which has no parameters; `arguments` provides the object."""
        raise AssertionError("services are not called")

    def given(self, service: T) -> GivenService:
        """One of `create_app`'s services."""
        return self, service
