"""The result of a simulated statement: the part of SQLAlchemy's result that the stores use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


class Row:
    """A row, readable by name, by position, or by unpacking."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values.values())

    def __getitem__(self, place: int | slice) -> Any:
        return list(self._values.values())[place]


class _Found:
    """The found values, readable as one, at most one, or all."""

    __slots__ = ("_as", "values")

    def __init__(self, values: Sequence[Any], as_: Callable[[Any], Any] | None = None) -> None:
        self.values = values
        self._as = as_  # converts each value when it is read

    @property
    def _found(self) -> Sequence[Any]:
        return self.values if self._as is None else [self._as(one) for one in self.values]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found)

    def all(self) -> list[Any]:
        return list(self._found)

    def first(self) -> Any:
        found = self._found
        return found[0] if found else None

    def one_or_none(self) -> Any:
        assert len(self.values) <= 1, "several rows where at most one was expected"
        return self.first()

    def one(self) -> Any:
        assert len(self.values) == 1, f"{len(self.values)} rows where one was expected"
        return self._found[0]


class Rows(_Found):
    """Rows of a statement; `rowcount` belongs to a statement without RETURNING."""

    __slots__ = ("rowcount",)

    def __init__(self, values: Sequence[Mapping[str, Any]] = (), rowcount: int = -1) -> None:
        super().__init__(values, Row)
        self.rowcount = len(values) if rowcount < 0 else rowcount

    def mappings(self) -> _Found:
        return _Found(self.values)

    def scalars(self) -> _Found:
        return _Found(self.values, _first_of)

    def scalar_one(self) -> Any:
        return self.scalars().one()

    def scalar_one_or_none(self) -> Any:
        return self.scalars().one_or_none()


def _first_of(values: Mapping[str, Any]) -> Any:
    return next(iter(values.values()))
