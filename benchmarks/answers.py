"""As much of HTTP/1.1 as a load generator reads: a status, a head, a body of known length."""

from dataclasses import dataclass

_LENGTH = b"\r\ncontent-length:"
_BODILESS = (204, 304)


class BadAnswer(Exception):
    """What came is no answer that is read here."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    head: bytes
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """By its name in lower case."""
        start = self.head.lower().find(b"\r\n" + name + b":")
        if start < 0:
            return None
        start += len(name) + 3
        return self.head[start : self.head.index(b"\r\n", start)].strip()


class Answers:
    """What came on one connection so far; answers fall out as they become whole."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[Answer]:
        """Raises BadAnswer."""
        self._buffer = self._buffer + data if self._buffer else data
        found: list[Answer] = []
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 2]
            if not head.startswith(b"HTTP/1.1 "):
                raise BadAnswer(head[:40].decode(errors="replace"))
            status = int(head[9:12])
            whole = end + 4 + _length(head, status)
            if len(self._buffer) < whole:
                break
            found.append(Answer(status, head, self._buffer[end + 4 : whole]))
            self._buffer = self._buffer[whole:]
        return found


def _length(head: bytes, status: int) -> int:
    lowered = head.lower()
    start = lowered.find(_LENGTH)
    if start >= 0:
        start += len(_LENGTH)
        return int(head[start : head.index(b"\r\n", start)])
    if status in _BODILESS:
        return 0
    raise BadAnswer("an answer whose length is not told")
