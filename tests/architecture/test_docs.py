"""What documents name is there: links between documents, switches of the model."""

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
LINK: Final = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")
CODE: Final = re.compile(r"```.*?```", re.DOTALL)


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
def test_links_resolve(document: Path) -> None:
    broken = []
    for path, anchor in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor[1:] not in anchors(target)):
            broken.append(path + anchor)
    assert broken == []


def test_the_protocol_names_switches_and_worlds_of_the_model() -> None:
    texts = (ROOT / "tests/model/README.md", *sorted((ROOT / "docs").rglob("*.md")))
    known = {*flags.ABOUT, *configurations.CONFIGURATIONS}
    for text in texts:
        for words in re.findall(
            r"(?:rules?|mistakes?|worlds?) ((?:`[a-z_0-9]+`(?:, | and )?)+)",
            text.read_text(encoding="utf-8"),
        ):
            assert set(re.findall(r"`([a-z_0-9]+)`", words)) <= known, text
