"""A Redis in memory: the commands that the protocol uses, and the shipped scripts in a real Lua 5.1.

Commands are atomic. The server has its own clock, which may run ahead or behind. An unknown command
raises. Values pass between Redis and Lua by Redis's rules: bulk strings are strings, integers are numbers,
nil is false, and a number that a script passes is written with 17 digits.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from random import Random
from typing import Any, Final

import lupa.lua51
from redis.exceptions import NoScriptError, ResponseError


class UnknownCommand(Exception):
    """The protocol uses a command that the simulated server does not have."""


class Sorted(dict[str, float]):
    """A sorted set: members by score."""

    def in_order(self) -> list[tuple[str, float]]:
        return sorted(self.items(), key=lambda pair: (pair[1], pair[0]))


Value = str | dict[str, str] | Sorted


def copy_of(data: Mapping[str, Value]) -> dict[str, Value]:
    """A deep copy, so that a change of one does not change the other."""
    return {key: _copy(value) for key, value in data.items()}


def _copy(value: Value) -> Value:
    if isinstance(value, Sorted):
        return Sorted(value)
    return value if isinstance(value, str) else dict(value)


class Server:
    """One run of one server; after a restart it is another server, with another incarnation."""

    def __init__(
        self,
        name: str,
        wall_clock: Callable[[], int],
        chance: Random,
        failures: list[BaseException],
    ) -> None:
        self.name = name
        self.run_id = self.replication_id = name
        self.incarnation = f"{name}:{name}"
        self.is_alive = True
        self.latest = 0  # the latest time that its clock has shown
        self.offset = 0  # microseconds that its clock is ahead of true time
        self.data: dict[str, Value] = {}
        self.expiries: dict[str, int] = {}  # milliseconds by the server's clock
        self.scripts: set[str] | None = None  # digests it knows; None: every script that exists
        self.writes = 0
        self.failures = failures
        self._wall_clock = wall_clock
        self._chance = chance

    def now(self) -> int:
        """Microseconds."""
        now = self._wall_clock() + self.offset
        if now > self.latest:
            self.latest = now
        return now

    def take_data_of(self, data: dict[str, Value], expiries: dict[str, int]) -> None:
        self.data, self.expiries = copy_of(data), dict(expiries)
        self.writes += 1

    def run_script(self, digest: str, key_count: int, arguments: tuple[Any, ...]) -> Any:
        if digest not in SOURCES or (self.scripts is not None and digest not in self.scripts):
            raise NoScriptError("No matching script. Please use EVAL.")
        source = SOURCES[digest]
        texts = [_text(argument) for argument in arguments]
        try:
            return _LUA.run(self, digest, source, key_count, texts)
        except lupa.lua51.LuaError as error:
            self.failures.append(error)
            raise ResponseError(str(error)) from error

    def load_script(self, source: str) -> str:
        digest = digest_of(source)
        SOURCES[digest] = source
        if self.scripts is not None:
            self.scripts.add(digest)
        return digest

    def command(self, name: str, *arguments: Any) -> Any:
        """Run a command; the reply has Redis's types for a script: lists, strings, integers, False for nil."""
        do = _COMMANDS.get(name.upper())
        if do is None:
            error = UnknownCommand(name)
            self.failures.append(error)
            raise error
        return do(self, *[one if type(one) is str else _text(one) for one in arguments])

    def get(self, key: str) -> Any:
        """The value of a key that has not expired, of any type."""
        due = self.expiries.get(key)
        if due is not None and self.now() // 1000 >= due:
            self._drop(key)
        return self.data.get(key)

    def _drop(self, key: str) -> bool:
        self.expiries.pop(key, None)
        return self.data.pop(key, None) is not None

    def _ensure(self, key: str, empty: Callable[[], Any]) -> Any:
        self.writes += 1
        found = self.get(key)
        if found is None:
            found = self.data[key] = empty()
        return found

    def _trim(self, key: str) -> None:
        if not self.data.get(key, True):
            self._drop(key)

    def _get(self, key: str) -> Any:
        found = self.get(key)
        return False if found is None else found

    def _set(self, key: str, value: str, *options: str) -> Any:
        if options == ("NX",):
            if self.get(key) is not None:
                return False
        elif options:
            raise UnknownCommand(f"SET with {options}")
        self.writes += 1
        self._drop(key)
        self.data[key] = value
        return "OK"

    def _setbit(self, key: str, offset: str, bit: str) -> int:
        assert bit == "1", "the protocol never clears a bit"
        return 1 - self._sadd(key, offset)

    def _getbit(self, key: str, offset: str) -> int:
        return self._sismember(key, offset)

    def _scard(self, key: str) -> int:
        return len(self.get(key) or ())

    def _smembers(self, key: str) -> list[str]:
        return list(self.get(key) or ())

    def _del(self, *keys: str) -> int:
        self.writes += 1
        return sum(self.get(key) is not None and self._drop(key) for key in keys)

    def _unlink(self, *keys: str) -> int:
        return self._del(*keys)

    def _exists(self, *keys: str) -> int:
        return sum(self.get(key) is not None for key in keys)

    def _pexpire(self, key: str, milliseconds: str) -> int:
        if self.get(key) is None:
            return 0
        self.writes += 1
        self.expiries[key] = self.now() // 1000 + int(milliseconds)
        return 1

    def _pttl(self, key: str) -> int:
        if self.get(key) is None:
            return -2
        due = self.expiries.get(key)
        return -1 if due is None else due - self.now() // 1000

    def _hget(self, key: str, field: str) -> Any:
        found = self.get(key)
        return False if found is None else found.get(field, False)

    def _hmget(self, key: str, *fields: str) -> list[Any]:
        found = self.get(key)
        if found is None:
            return [False] * len(fields)
        return [found.get(field, False) for field in fields]

    def _hset(self, key: str, *pairs: str) -> int:
        found = self._ensure(key, dict)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return len(found) - before

    def _hdel(self, key: str, *fields: str) -> int:
        found = self._ensure(key, dict)
        gone = sum(found.pop(field, None) is not None for field in fields)
        self._trim(key)
        return gone

    def _hgetall(self, key: str) -> list[str]:
        return [text for pair in (self.get(key) or {}).items() for text in pair]

    def _sadd(self, key: str, *members: str) -> int:
        found = self._ensure(key, dict)  # a dict, so that its order is the same in every run
        before = len(found)
        found.update(dict.fromkeys(members, ""))
        return len(found) - before

    def _sismember(self, key: str, member: str) -> int:
        return int(member in (self.get(key) or ()))

    def _srem(self, key: str, *members: str) -> int:
        return self._hdel(key, *members)

    def _srandmember(self, key: str, count: str) -> list[str]:
        members = list(self.get(key) or ())
        return self._chance.sample(members, min(len(members), int(count)))

    def _zadd(self, key: str, *arguments: str) -> int:
        only_less = arguments[0].upper() == "LT"
        pairs = arguments[1:] if only_less else arguments
        found: Sorted = self._ensure(key, Sorted)
        before = len(found)
        for score, member in zip(pairs[::2], pairs[1::2], strict=True):
            number = float(score)
            if not only_less or member not in found or number < found[member]:
                found[member] = number
        return len(found) - before

    def _zrem(self, key: str, *members: str) -> int:
        return self._hdel(key, *members)

    def _zrange(self, key: str, first: str, last: str, *options: str) -> list[str]:
        pairs = (self.get(key) or Sorted()).in_order()
        end = len(pairs) if int(last) == -1 else int(last) + 1
        if [option.upper() for option in options] == ["WITHSCORES"]:
            return [text for pair in pairs[int(first) : end] for text in (pair[0], _text(pair[1]))]
        if options:
            raise UnknownCommand(f"ZRANGE with {options}")
        return [member for member, _ in pairs[int(first) : end]]

    def _zrangebyscore(self, key: str, least: str, most: str, *options: str) -> list[str]:
        low, high = float(least), float(most)
        pairs = (self.get(key) or Sorted()).in_order()
        members = [member for member, score in pairs if low <= score <= high]
        if not options:
            return members
        word, offset, count = options
        if word.upper() != "LIMIT":
            raise UnknownCommand(f"ZRANGEBYSCORE with {options}")
        end = None if int(count) < 0 else int(offset) + int(count)
        return members[int(offset) : end]

    def _zscore(self, key: str, member: str) -> Any:
        found = self.get(key)
        return False if found is None or member not in found else _text(found[member])

    def _zcard(self, key: str) -> int:
        return len(self.get(key) or ())

    def _time(self) -> list[str]:
        seconds, rest = divmod(self.now(), 1_000_000)
        return [str(seconds), str(rest)]

    def _flushall(self) -> str:
        self.writes += 1
        self.data.clear()
        self.expiries.clear()
        return "OK"


_COMMANDS: Final[dict[str, Callable[..., Any]]] = {
    name.removeprefix("_").upper(): getattr(Server, name)
    for name in vars(Server)
    if name.startswith("_") and not name.startswith(("__", "_drop", "_ensure", "_trim"))
}
SOURCES: dict[str, str] = {}
"""Every script that was ever loaded or shipped, by digest."""


class _Lua:
    """One Lua state for all servers of this Python process; each script is compiled once."""

    def __init__(self) -> None:
        self._state = lupa.lua51.LuaRuntime()
        self._server: Server | None = None
        self._chunks: dict[str, Any] = {}
        self._compile = self._state.eval("loadstring")
        start = self._state.execute(_START)
        self._run = start(self._command)
        self._table = self._state.table_from

    def run(
        self, server: Server, digest: str, source: str, key_count: int, arguments: list[str]
    ) -> Any:
        chunk = self._chunks.get(digest)
        if chunk is None:
            compiled = self._compile(source)
            if isinstance(compiled, tuple):
                raise lupa.lua51.LuaError(compiled[1])
            chunk = self._chunks[digest] = compiled
        self._server = server
        try:
            reply = self._run(chunk, key_count, *arguments)
        finally:
            self._server = None  # a reference would keep the whole world in memory after its seed
        return [_reply(part) for part in (reply if isinstance(reply, tuple) else (reply,))]

    def _command(self, name: str, *arguments: Any) -> Any:
        assert self._server is not None, "a script is running"
        answer = self._server.command(name, *arguments)
        return self._table(answer) if isinstance(answer, list) else answer


_START = """
local command = ...
redis = {
  call = command,
  pcall = command,
  status_reply = function(text) return { ok = text } end,
  error_reply = function(text) return { err = text } end,
  sha1hex = nil,
}
return function(chunk, key_count, ...)
  local all, keys, arguments = { ... }, {}, {}
  for i = 1, #all do
    if i <= key_count then keys[i] = all[i] else arguments[i - key_count] = all[i] end
  end
  KEYS, ARGV = keys, arguments
  local reply = chunk()
  if type(reply) == 'table' then return unpack(reply) end
  return reply
end
"""
_START = "return function(...) " + _START + " end"


def ship(sources: Iterable[str]) -> None:
    """Make scripts known to every server that has had no SCRIPT FLUSH."""
    for source in sources:
        SOURCES[digest_of(source)] = source


def digest_of(source: str) -> str:
    return hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


def _reply(part: Any) -> Any:
    """The reply with the types of redis-py: bytes, integers, None, and lists of them."""
    if isinstance(part, str):
        return part.encode()
    if part is None or part is False:
        return None
    if isinstance(part, bool):
        return 1
    if isinstance(part, (int, float)):
        return int(part)
    return [_reply(part[index]) for index in range(1, len(part) + 1)]


@lru_cache(
    maxsize=4096
)  # a run formats about a thousand different numbers, most of them again and again
def _text_of_float(number: float) -> str:
    return f"{number:.17g}"


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, float):
        return _text_of_float(value)
    return str(value)


_LUA = _Lua()
