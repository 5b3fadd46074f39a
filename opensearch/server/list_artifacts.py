"""Writes ``artifacts.tsv`` and ``artifacts-3.tsv``: which files of Maven Central make a node, with their hashes.

For whoever moves a node to another version of OpenSearch: change the versions in ``pom.xml`` or ``pom-3.xml`` and in
``node/releases.py``, then run this with Maven installed. Users need neither Maven nor this script.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from splare_plugins.machine.files import file_sha256

HERE = Path(__file__).parent
LISTS = HERE.parent / "opensearch_splare" / "node"
HEADER = """\
# Pieces of an OpenSearch node on Maven Central: folder in the home, path in the repository, bytes, sha256.
# Written by opensearch/server/list_artifacts.py; ZIP files are unpacked.
"""


def main() -> None:
    """Let Maven resolve each POM into an empty repository and list what it fetched for the node."""
    for pom, name in (("pom.xml", "artifacts.tsv"), ("pom-3.xml", "artifacts-3.tsv")):
        write_list(HERE / pom, LISTS / name)


def write_list(source: Path, target: Path) -> None:
    """List the pieces of one POM."""
    with tempfile.TemporaryDirectory() as scratch:
        repository, home = Path(scratch) / "repository", Path(scratch) / "home"
        pom = Path(scratch) / "pom.xml"
        pom.write_bytes(source.read_bytes())
        options = ["-q", "-B", "-f", str(pom), f"-Dmaven.repo.local={repository}", f"-Dhome={home}"]
        subprocess.run(["mvn", *options, "prepare-package"], check=True)
        rows = sorted(set(_rows(repository, home)))
    target.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    sys.stderr.write(f"{len(rows)} files listed in {target}\n")


def _rows(repository: Path, home: Path) -> Iterator[str]:
    fetched = {path.name: path for pattern in ("*.jar", "*.zip") for path in repository.rglob(pattern)}
    for file in sorted(home.rglob("*")):
        if file.suffix in (".jar", ".zip"):
            source = fetched[file.name]
            if source.stat().st_size != file.stat().st_size:
                raise SystemExit(f"two different files are called {file.name}")
            folder, path = file.parent.relative_to(home), source.relative_to(repository)
            yield f"{folder.as_posix()}\t{path.as_posix()}\t{source.stat().st_size}\t{file_sha256(source)}"


if __name__ == "__main__":
    main()
