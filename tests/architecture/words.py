"""The words that docs/glossary.md avoids, and where they appear: `python -m tests.architecture.words PATH…`.

A pattern is matched against a text: the words of a name ("turn seconds" of `turn_seconds`), or the whole of a
docstring, a block of comments or a message. A space in a pattern stands for any white space, so that a line
break hides nothing.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

ROOT: Final = Path(__file__).parents[2]
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
FOREIGN: Final = ("app/transport/http/openapi/static",)  # other people's files, shipped as they are

Kind = Literal["name", "prose"]

_TAG: Final = re.compile(r"<[^>]*>")
_CODE: Final = re.compile(r"```.*?```|`[^`]*`|\]\([^)\s]*\)", re.DOTALL)
_CELL: Final = re.compile(r"(?<!\\)\|")
_ITEM: Final = re.compile(
    r"`(?P<pattern>[^`]+)`(?: in (?P<kind>names|prose))?(?: except in (?P<places>`[^`]+`(?:, `[^`]+`)*))?"
)
_SQL: Final = re.compile(
    r"\b(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|LOCK|WHERE|FROM|JOIN|ORDER BY|VALUES|SET|CHECK"
    r"|RETURNING|AND|OR|NOT|IN|IS)\b"
)
_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_LUA: Final = re.compile(
    r"--\[\[(?P<block>.*?)\]\]|--(?P<comment>[^\n]*)|(?P<string>'[^'\n]*'|\"[^\"\n]*\")|(?P<name>[A-Za-z_]\w*)",
    re.DOTALL,
)
_LOGGING: Final = {"debug", "info", "warning", "error", "exception", "critical"}


@dataclass(frozen=True, slots=True)
class Avoided:
    """A pattern of the glossary: what to write instead, in what kind of text, and where it is allowed."""

    pattern: re.Pattern[str]
    term: str
    kind: Kind | None
    allowed_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Some words of a file: `line` is that of their first character."""

    kind: Kind
    line: int
    words: str


@dataclass(frozen=True, slots=True)
class Violation:
    path: str
    line: int
    found: str
    term: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.found}" (glossary: {self.term})'


def avoided(glossary: Path = GLOSSARY) -> list[Avoided]:
    """The patterns of all tables: the last cell of each row, with the first as what to write."""
    found = []
    for line in glossary.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace(r"\|", "|") for cell in _CELL.split(line.strip().strip("|"))]
        if not line.startswith("|") or set(cells[0]) <= {"-"}:
            continue
        for item in _ITEM.finditer(cells[-1]):
            spaced = item["pattern"].replace(" ", r"\s+")
            kinds: dict[str | None, Kind | None] = {"names": "name", "prose": "prose", None: None}
            found.append(
                Avoided(
                    re.compile(spaced, re.IGNORECASE),
                    _TAG.sub("", cells[0]),
                    kinds[item["kind"]],
                    tuple(re.findall(r"`([^`]+)`", item["places"] or "")),
                )
            )
    return found


def files(*paths: Path) -> list[Path]:
    """Every Python, Lua and Markdown file of ours under `paths`."""
    found = {
        file
        for path in paths
        for file in ([path] if path.is_file() else path.rglob("*"))
        if file.suffix in (".py", ".lua", ".md") and "__pycache__" not in file.parts
    }
    return sorted(file for file in found if not _name_of(file).startswith(FOREIGN))


def violations(file: Path, rules: list[Avoided]) -> list[Violation]:
    """What in a file is against the rules, each name once."""
    path = _name_of(file)
    ours = [rule for rule in rules if not path.startswith(rule.allowed_in or ("?",))]
    found: dict[tuple[str | int, re.Pattern[str]], Violation] = {}
    for text in _texts(file):
        for rule in ours:
            if rule.kind not in (None, text.kind):
                continue
            for match in rule.pattern.finditer(text.words):
                line = text.line + text.words.count("\n", 0, match.start())
                where = text.words if text.kind == "name" else line
                shown = " ".join(match[0].split())
                found.setdefault((where, rule.pattern), Violation(path, line, shown, rule.term))
    return sorted(found.values(), key=lambda one: one.line)


def _name_of(file: Path) -> str:
    return (
        file.resolve().relative_to(ROOT).as_posix()
        if file.resolve().is_relative_to(ROOT)
        else file.name
    )


def _texts(file: Path) -> Iterator[Text]:
    source = file.read_text(encoding="utf-8")
    for part in Path(_name_of(file)).with_suffix("").parts:
        yield _named(part, 1)
    match file.suffix:
        case ".py":
            yield from _of_python(source)
        case ".lua":
            yield from _of_lua(source)
        case _:  # the lines of code in Markdown stay, empty, so that lines are counted right
            yield Text("prose", 1, _CODE.sub(lambda code: "\n" * code[0].count("\n"), source))


def _named(name: str, line: int) -> Text:
    return Text("name", line, " ".join(_WORD.findall(name)))


def _of_python(source: str) -> Iterator[Text]:
    yield from _comments(source)
    tree = ast.parse(source)
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        yield from _names(node)
        if isinstance(node, ast.JoinedStr):
            words = "".join(
                str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values
            )
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts
        ):
            words = node.value
        else:
            continue
        if " " in words and not _SQL.search(words):
            yield Text("prose", node.lineno, words)


def _names(node: ast.AST) -> Iterator[Text]:
    """What a node gives a name to, and the names of log events."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield _named(node.name, node.lineno)
        case ast.arg() | ast.keyword(arg=str()):
            yield _named(str(node.arg), node.lineno)
        case ast.Name(ctx=ast.Store()):
            yield _named(node.id, node.lineno)
        case ast.Attribute(ctx=ast.Store()):
            yield _named(node.attr, node.lineno)
        case ast.alias(asname=str()):
            yield _named(str(node.asname), node.lineno)
        case ast.Call(func=ast.Attribute(attr=attr), args=[ast.Constant(value=str(event)), *_]):
            if attr in _LOGGING:
                yield _named(event, node.lineno)
        case _:
            pass


def _comments(source: str) -> Iterator[Text]:
    """Comments that stand under each other are one text."""
    block: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        if token.start[0] != last + 1 and block:
            yield Text("prose", last - len(block) + 1, "\n".join(block))
            block = []
        block.append(token.string.lstrip("#: "))
        last = token.start[0]
    if block:
        yield Text("prose", last - len(block) + 1, "\n".join(block))


def _of_lua(source: str) -> Iterator[Text]:
    block: list[str] = []
    last = -1
    for match in _LUA.finditer(source):
        line = source.count("\n", 0, match.start()) + 1
        if match["comment"] is not None:
            if line != last + 1 and block:
                yield Text("prose", last - len(block) + 1, "\n".join(block))
                block = []
            block.append(match["comment"])
            last = line
        elif match["name"]:
            yield _named(match["name"], line)
        elif match["block"] or " " in (match["string"] or ""):
            yield Text("prose", line, match["block"] or match["string"])
    if block:
        yield Text("prose", last - len(block) + 1, "\n".join(block))


def main() -> int:
    rules = avoided()
    paths = [Path(argument) for argument in sys.argv[1:]] or [ROOT / "app"]
    count = 0
    for file in files(*paths):
        for violation in violations(file, rules):
            print(violation)
            count += 1
    print(f"{count} avoided words", file=sys.stderr)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
