"""Writes ``opensearch_splare/node/artifacts.tsv``: which files of Maven Central make a node, with their hashes.

For whoever moves the node to another version of OpenSearch: change the versions in ``pom.xml`` and in
``node/home.py``, then run this with Maven installed. Users need neither Maven nor this script.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from splare_plugins.machine.files import file_sha256

HERE = Path(__file__).parent
LIST = HERE.parent / "opensearch_splare" / "node" / "artifacts.tsv"
HEADER = """\
# Pieces of an OpenSearch node on Maven Central: folder in the home, path in the repository, bytes, sha256.
# Written by opensearch/server/list_artifacts.py; ZIP files are unpacked.
"""


def main() -> None:
    """Let Maven resolve the POM into an empty repository and list what it fetched for the node."""
    with tempfile.TemporaryDirectory() as scratch:
        repository, home = Path(scratch) / "repository", Path(scratch) / "home"
        pom = Path(scratch) / "pom.xml"
        pom.write_bytes((HERE / "pom.xml").read_bytes())
        options = ["-q", "-B", "-f", str(pom), f"-Dmaven.repo.local={repository}", f"-Dhome={home}"]
        subprocess.run(["mvn", *options, "prepare-package"], check=True)
        rows = sorted(set(_rows(repository, home)))
    LIST.write_text(HEADER + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    sys.stderr.write(f"{len(rows)} files listed in {LIST}\n")


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
