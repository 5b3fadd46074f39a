"""The labels of the small model's latents: ``python examples/small_model/labels.py DATA -o MODEL``.

DATA holds BEIR folders and parallel sentences (``ntrex``), as for ``pool.py``. Contexts come from openly licensed text
alone, each corpus by its language: news in parallel (NTREX, CC BY-SA 4.0), sentences of Tatoeba (CC BY 2.0 FR),
medicine (MedQuAD, CC BY 4.0), abstracts (SciFact, ODC-By 1.0) and books in the public domain. Which context is whose
stands in the table. ``--ship`` puts the table into the package.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

NEWS = ("en", "de", "es", "fr", "ru", "zh", "ja", "ar", "hi", "tr", "ko", "fi")
SENTENCES = ("de", "es", "ru", "zh", "ar", "hi")
ENGLISH = {"medquad": 2, "scifact": 2, "text-books-en": 3}
"""Corpora of English, and how many shares of the sample each has."""
SHIPPED = Path(__file__).parents[2] / "splare_plugins" / "model" / "builtin" / "splare-e5-small-labels.parquet"

TERMS = """NTREX (ntrex-*): Christian Federmann, Tom Kocmi, Ying Xin, https://github.com/MicrosoftTranslator/NTREX, \
CC BY-SA 4.0. Tatoeba (tatoeba-*): its contributors, https://tatoeba.org, CC BY 2.0 FR. MedQuAD (medquad): Asma Ben \
Abacha, Dina Demner-Fushman, https://github.com/abachaa/MedQuAD, CC BY 4.0. SciFact (scifact): abstracts of S2ORC, \
ODC-By 1.0. text-books-en: public domain. Excerpts, cut; the table with contexts of NTREX is shared under \
CC BY-SA 4.0."""


def lines(path: Path) -> Iterator[dict[str, str]]:
    """The records of a file."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def news(data: Path, folder: Path, language: str) -> str:
    """The parallel sentences of one language as a corpus; translations share an id."""
    path = folder / f"ntrex-{language}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in lines(data / "ntrex" / "parallel.jsonl.gz"):
            file.write(json.dumps({"_id": row["_id"], "text": row[language]}, ensure_ascii=False) + "\n")
    return f"{language}={path}"


def sentences(data: Path, folder: Path, language: str) -> str:
    """Sentences of Tatoeba, with the id of the pair."""
    path = folder / f"tatoeba-{language}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for row in lines(data / "tatoeba" / f"{language}-en" / "queries.jsonl"):
            about = {"_id": f"{language}-{row['_id']}", "text": row["text"]}
            file.write(json.dumps(about, ensure_ascii=False) + "\n")
    return f"{language}={path}"


def ship(table: Path) -> None:
    """Put the labels where the package keeps them, with the terms of the quoted texts in the file."""
    import pyarrow.parquet as pq

    from splare_plugins.heads.labels import METADATA

    labels = pq.read_table(table)
    about = json.loads(labels.schema.metadata[METADATA]) | {"terms": TERMS}
    labels = labels.replace_schema_metadata({METADATA: json.dumps(about, ensure_ascii=False).encode()})
    pq.write_table(labels, SHIPPED, compression="zstd", compression_level=19, dictionary_pagesize_limit=64 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--model", default="splare-e5-small")
    parser.add_argument("--sample", type=int, default=6_000)
    parser.add_argument("--ship", action="store_true", help="copy the table to where the package keeps it")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpora = [news(options.data, folder, language) for language in NEWS]
        corpora += [sentences(options.data, folder, language) for language in SENTENCES]
        for name, shares in ENGLISH.items():
            corpora += [f"en={options.data / name}"] * shares
        queries = [options.data / name for name in ("medquad", "qa-zh", "qa-ar")]
        asked = [word for each in queries for word in ("--queries", str(each))]
        command = ["-m", "splare_plugins", "labels", "build", options.model, *corpora, *asked]
        command += ["--sample", str(options.sample), "-o", str(options.output), "--dtype", "bfloat16"]
        subprocess.run([sys.executable, *command], check=True)
    if options.ship:
        ship(options.output / "head" / "labels.parquet")


if __name__ == "__main__":
    main()
