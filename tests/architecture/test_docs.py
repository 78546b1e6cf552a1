"""What documents name is there: paths of files, links between documents, switches of the model."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.model import configurations, flags

ROOT: Final = Path(__file__).parents[2]
SKIPPED: Final = (".", "node_modules")
DOCUMENTS: Final = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(SKIPPED) for part in path.relative_to(ROOT).parts)
)
PATH: Final = re.compile(
    r"`((?:app|tests|docs|migrations|docker|benchmarks|requirements)/[\w./*-]+)`"
)
FILE: Final = re.compile(r"`([\w/-]+\.(?:py|lua|toml|patch))`")  # from wherever the reader is
LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")
CODE: Final = re.compile(r"```.*?```", re.DOTALL)
INVENTED: Final = {"app/adapters/your_bus.py"}  # files that a reader is to write


def of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(document: Path) -> set[str]:
    text = document.read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", CODE.sub("", text), re.MULTILINE)
    slugs = {
        re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", title)).strip().lower().replace(" ", "-")
        for title in headings
    }
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("document", DOCUMENTS, ids=of)
def test_paths_that_a_document_names_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(PATH.findall(text)) - INVENTED
    assert [path for path in sorted(named) if not any(ROOT.glob(path))] == []
    shortened = set(FILE.findall(text)) - INVENTED
    assert [path for path in sorted(shortened) if not _exists(path)] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=of)
def test_links_resolve(document: Path) -> None:
    broken = []
    for path, anchor in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor[1:] not in anchors(target)):
            broken.append(path + anchor)
    assert broken == []


def test_documents_name_switches_and_worlds_that_the_model_has() -> None:
    choices = ROOT / "tests/model/README.md"
    known = {*flags.ABOUT, *configurations.CONFIGURATIONS}
    for document in (ROOT / "CONTRIBUTING.md", choices, *sorted((ROOT / "docs").rglob("*.md"))):
        text = document.read_text(encoding="utf-8")
        named = " ".join(
            re.findall(r"(?:rules?|mistakes?|worlds?) ((?:`[a-z_0-9]+`(?:, | and )?)+)", text)
        )
        if document == choices:
            named += " ".join(re.findall(r"\|([^|\n]*`[a-z_]+`[^|\n]*)\|$", text, re.MULTILINE))
        for world, switch in re.findall(r"(?:tests\.model|ARGS=\")\s?(\w+) -(\w+)", text):
            named += f"`{world}` `{switch}`"
        assert set(re.findall(r"`([a-z_0-9]+)`", named)) <= known, of(document)


def _exists(shortened: str) -> bool:
    folders = ("app", "benchmarks", "docs", "migrations", "scripts", "tests")
    return (ROOT / shortened).exists() or any(
        any((ROOT / folder).rglob(shortened)) for folder in folders
    )
