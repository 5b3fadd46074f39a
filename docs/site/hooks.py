"""What the site has beside docs/: the repository's files that pages link, and the API from docstrings.

A link like ``../README.md`` works on a code host as it stands. For the site each file that is linked so is taken
along below ``repository/``, with what it links in turn, and the links are turned there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)\s#]+)(?=[)#])")
ELSEWHERE = "repository/"
API = {
    "splare_plugins": [
        "splare_plugins",
        "splare_plugins.engines",
        "splare_plugins.corpus",
        "splare_plugins.steering",
        "splare_plugins.retrieval.evaluation",
        "splare_plugins.retrieval.explain",
    ],
    "pyserini_splare": ["pyserini_splare"],
    "pyterrier_splare": ["pyterrier_splare"],
    "opensearch_splare": ["opensearch_splare"],
}


def _place(uri: str) -> str:
    """Where a page of the site lies in the repository."""
    return uri.removeprefix(ELSEWHERE) if uri.startswith(ELSEWHERE) else f"docs/{uri}"


def _uri(place: str) -> str:
    """Where a file of the repository lies in the site."""
    return place.removeprefix("docs/") if place.startswith("docs/") else ELSEWHERE + place


def _linked(place: str) -> Iterator[str]:
    """The files that a page links, by their places in the repository."""
    if place.endswith(".md"):
        for target in LINK.findall((ROOT / place).read_text(encoding="utf-8")):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(place), target))


def _api(modules: list[str]) -> str:
    """A page that has mkdocstrings document the public names of some modules."""
    lines = [f"# {modules[0]}", import_module(modules[0]).__doc__ or ""]
    for name in modules:
        module: Any = import_module(name)
        lines += [f"## {name}"] if name != modules[0] else []
        public = getattr(module, "__all__", None) or [
            each
            for each, value in vars(module).items()
            if not each.startswith("_") and getattr(value, "__module__", "") == name
        ]
        found = [getattr(module, each) for each in public if not each.startswith("_")]
        lines += [f"::: {each.__module__}.{each.__qualname__}" for each in found if hasattr(each, "__qualname__")]
    return "\n\n".join(lines)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the API's pages and all that is linked outside docs/."""
    for package, modules in API.items():
        files.append(File.generated(config, f"api/{package}.md", content=_api(modules)))
    waiting = [_place(file.src_uri) for file in files.documentation_pages() if not file.src_uri.startswith("api/")]
    while waiting:
        for place in _linked(waiting.pop()):
            uri = _uri(place)
            if files.get_file_from_path(uri) is None and (ROOT / place).is_file():
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / place)))
                waiting.append(place)
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turn links between docs/ and the rest to where the site has the files."""
    here = page.file.src_uri
    if here.startswith("api/"):
        return markdown

    def turned(match: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join(posixpath.dirname(_place(here)), match[1]))
        return posixpath.relpath(_uri(place), posixpath.dirname(here))

    return LINK.sub(turned, markdown)


def on_page_content(html: str, *, page: Any, config: Any, files: Files) -> str:
    """Docstrings name other objects by Sphinx's roles, which Markdown does not know."""
    return re.sub(r":\w+:<code>~?", "<code>", html) if page.file.src_uri.startswith("api/") else html


def on_post_build(*, config: Any) -> None:
    """Take the one script that Material loads from elsewhere, for a search without a server, from here."""
    site = Path(config.site_dir)
    for page in site.rglob("*.html"):
        own = posixpath.relpath("site/worker.js", page.parent.relative_to(site).as_posix())
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("https://unpkg.com/iframe-worker/shim", own), encoding="utf-8")
