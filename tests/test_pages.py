"""README and docs: their links lead somewhere, and every block is run by one test and stands on one page."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.conftest import small_data  # noqa: F401 (a fixture)
from tests.pages import PAGES, README, ROOT, Block, blocks, check, commands, run_pages, same, show

LINKED = [*PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "benchmarks/README.md"))]
LINKED += sorted((ROOT / "examples").rglob("*.md")) + sorted((ROOT / "docs" / "reproductions").glob("*.md"))
FENCE = re.compile(r"^```(\w*)\n.*?^```$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def runners(page: Path) -> list[str]:
    """The tests that run a page: those of its room, called test_docs.py, or this one."""
    files = [Path(__file__)] if page == README else (ROOT / "tests").rglob("test_docs.py")
    name = f'"{page.relative_to(ROOT)}"'
    return [file.name for file in files if name in file.read_text(encoding="utf-8")]


@pytest.mark.java
@pytest.mark.model
@pytest.mark.slow
def test_what_the_readme_shows_works(small_data, tmp_path):  # noqa: F811
    assert run_pages("README.md", folder=tmp_path, data=small_data) == [7]


@pytest.mark.parametrize("page", LINKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?:", target):
            continue
        path, _, anchor = target.partition("#")
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_run_or_says_why_not(page):
    text = page.read_text(encoding="utf-8")
    languages = FENCE.findall(text)
    assert len(re.findall(r"^```", text, re.MULTILINE)) == 2 * len(languages)
    # Settings and output; the README's picture has no language.
    assert set(languages) <= {"bash", "python", "console", "text", "json", "yaml"} | (
        {""} if page == README else set()
    )
    shown = blocks(page)
    assert len(shown) == sum(language in ("bash", "python", "console") for language in languages)
    assert text.count("<!-- not run: ") == sum(block.reason != "" for block in shown)
    if any(not block.reason for block in shown):
        assert len(runners(page)) == 1, page


def test_nothing_is_shown_twice():
    shown: Counter[str] = Counter()
    for block in (block for page in PAGES for block in blocks(page)):
        if block.language == "python":
            shown[block.content] += 1
        else:
            # `splare serve` alone may stand on two pages.
            shown.update(" ".join(words) for words in commands(block.content) if len(words) > 2)
    assert [content for content, times in shown.items() if times > 1] == []


def test_the_docs_index_lists_every_page():
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    readme = README.read_text(encoding="utf-8")
    for page in PAGES:
        if page.name not in ("README.md", "index.md"):
            assert f"]({page.name})" in index
            assert f"](docs/{page.name})" in readme


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 130


def test_extras_that_pages_name_exist():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    for page in PAGES:
        for names in re.findall(r"pip install '[\w.-]*\[([^\]]+)\]", page.read_text(encoding="utf-8")):
            assert set(names.split(",")) <= extras, page
    table = (ROOT / "docs" / "index.md").read_text(encoding="utf-8").split("| extra | for |")[1]
    listed = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", row)
    }
    assert listed == extras - {"dev"}


def test_make_targets_that_pages_name_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        for target in re.findall(r"^make (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert f"\n{target}:" in makefile


def test_the_rooms_of_the_architecture_are_those_of_the_contracts():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("| room | imports")[1].split("\n\n")[0]
    rooms = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert rooms == [room for layer in reversed(contracts[0]["layers"]) for room in layer.split(" | ")]


def test_files_that_pages_name_exist():
    pattern = r"`((?:tests|benchmarks|examples)/[\w/.-]+?)/?`"
    for page in PAGES:
        for path in re.findall(pattern, page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), f"{page.name}: {path}"


def test_the_runner_notices_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"

    def shows(text: str) -> int:
        page.write_text(text, encoding="utf-8")
        return show(page)

    assert shows("```python\nprint(100)\n```\n\n```text\n101\n```\n") == 1
    with pytest.raises(AssertionError, match="where the page has"):
        shows("```python\nprint(100)\n```\n\n```text\n110\n```\n")
    with pytest.raises(AssertionError, match="where the page has"):
        shows("```console\n$ splare inspect nowhere\nfine\n```\n")
    with pytest.raises(RuntimeError, match="ended with status 2"):
        shows("```bash\nsplare inspect nowhere\n```\n")
    with pytest.raises(SyntaxError):
        check(Block("python", "print(", "no reason", None))
    assert shows("<!-- not run: no reason -->\n```bash\nsplare inspect nowhere\n```\n") == 0
    check(blocks(page)[0])
    with pytest.raises(Exception, match="No such option"):
        check(Block("bash", "splare inspect nowhere --nothing", "no reason", None))
    assert not same("f12 1.0", "f13 1.0")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_that_are_not_run_are_sound(page):
    for block in blocks(page):
        if block.reason:
            check(block)


def test_no_sentence_stands_on_two_pages():
    pages: dict[str, set[str]] = {}
    for page in PAGES:
        # The README's tables are extracts of longer ones.
        prose = re.sub(r"^\|.*$", "\n", FENCE.sub("", page.read_text(encoding="utf-8")), flags=re.MULTILINE)
        prose = re.sub(r"\]\([^)]*\)|[`*\[\]]", "", prose)
        for sentence in re.split(r"(?<=[.:;])\s+|\n\n", prose):
            words = sentence.lower().split()
            # Any eight words in a row: whole sentences are seldom copied to the letter.
            for start in range(len(words) - 7):
                pages.setdefault(" ".join(words[start : start + 8]), set()).add(page.name)
    assert {words: names for words, names in pages.items() if len(names) > 1} == {}


def test_the_messages_of_the_errors_page_are_those_of_the_code():
    sources = [
        path
        for name in ("splare_plugins", "pyserini_splare", "pyterrier_splare", "opensearch/opensearch_splare")
        for path in (ROOT / name).rglob("*.py")
    ]
    code = "\n".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in sources)
    table = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").partition("| --- | --- |\n")[2]
    messages = [cell for line in table.splitlines() for cell in re.findall(r"^\| `([^`]+)`", line)]
    assert len(messages) > 10
    for message in messages:
        # What stands for a name, and what the operating system says, is not in the code.
        parts = re.split(r"\.\.\.|\b[A-Z]{3,}\b|\d+(?:/\d+)?|: No space.*", message)
        assert all(part.strip(" ,") in code for part in parts if part), message


def test_figures_are_the_same_on_every_page():
    """The README's rows stand in docs/figures.md, and PyTerrier's overview quotes them."""
    rows = re.findall(r"^\| ((?:XQuAD|SciFact).*) \|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    figures = (ROOT / "docs" / "figures.md").read_text(encoding="utf-8").replace("*", "")
    quality = {name: numbers for name, *numbers in (row.replace("*", "").split(" | ") for row in rows)}
    assert len(quality) == 4
    for name, numbers in quality.items():
        (line,) = (line for line in figures.splitlines() if line.startswith(f"| {name} |"))
        assert all(number in line.split(" | ") or f"{number} |" in line for number in numbers), name
    overview = (ROOT / "pyterrier_splare" / "pt_docs" / "overview.rst").read_text(encoding="utf-8")
    bm25, _, splare, _ = quality["XQuAD de -> en"]
    assert f"nDCG\\@10 {splare}, BM25 {bm25}" in overview
    bm25, _, splare, both = quality["SciFact"]
    assert f"({bm25} against {splare} on\nSciFact); the two added are better than either ({both})" in overview
