"""What ``splare train`` needs to train the small model: rows with hard negatives, and teachers' vectors of all texts.

``python examples/small_model/prepare.py POOL -t all-mpnet-base-v2 -o TRAIN`` reads what ``pool.py`` wrote. All texts
get vectors of the model's own dense backbone, English ones also those of the bi-encoder and of BM25; a parallel
sentence gets the bi-encoder's vector of its English original, so that an English teacher teaches every language.
With ``--originals``, all three teachers read the English of parallel texts and no other, and teach them together.
The first bi-encoder chooses the negatives; a second one only gets a file of its vectors, by its name. Vectors that are
there already are kept, so that a run that was stopped goes on with the next teacher.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from splare_plugins.machine.files import read_jsonl
from splare_plugins.training.data.embed import Embed, bm25_embedder, embed_texts, load_embedder
from splare_plugins.training.data.teachers import SIDES, Teachers, TeacherVectors

PARALLEL = "ntrex"
OTHER_LANGUAGES = ("qa-ar", "qa-zh")
ENGLISH = ("english", "bm25", "dense")
TAUGHT = {"qa-ar": ("dense",), "qa-zh": ("dense",), PARALLEL: ("english", "dense")}
SCALES = {"english": 20.0, "bm25": 0.4, "dense": 50.0}
NEGATIVES, DEPTH, CHUNK = 6, 30, 512
LENGTH = 128  # tokens that a teacher reads
Load = Callable[[], Embed]


def english(row: dict[str, str]) -> tuple[str, str]:
    """The English of a row, its own or that of its originals."""
    return row.get("english_query", row["query"]), row.get("english_positive", row["positive"])


def store(path: Path, load: Load, pairs: list[tuple[tuple[str, str], tuple[str, str]]]) -> TeacherVectors:
    """Vectors of texts (first) that are those of other texts (second): the same ones, or their English originals."""
    if path.exists():
        return TeacherVectors.load(path)
    texts = {side: list(dict.fromkeys(own[number] for own, _ in pairs)) for number, side in enumerate(SIDES)}
    originals = {own[number]: read_as[number] for own, read_as in pairs for number in (0, 1)}
    made = embed_texts(texts, load(), originals=originals, name=path.stem)
    made.save(path)
    return made


def mine(rows: list[dict[str, str]], teachers: Teachers, generator: np.random.Generator) -> list[dict[str, object]]:
    """Rows with some of the documents of their source that the teachers like best."""
    documents = list(dict.fromkeys(row["positive"] for row in rows))
    mined: list[dict[str, object]] = []
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        scores = teachers([row["query"] for row in chunk], documents)
        best = np.argsort(-scores, axis=1)[:, : DEPTH + 1]
        for row, found in zip(chunk, best, strict=True):
            others = [documents[number] for number in found if documents[number] != row["positive"]][:DEPTH]
            chosen = generator.permutation(len(others))[:NEGATIVES]
            negatives = [others[number] for number in chosen]
            mined.append({"query": row["query"], "positive": row["positive"], "negatives": negatives})
    return mined


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("pool", type=Path)
    arguments.add_argument(
        "-t", "--teacher", required=True, nargs="+", help="bi-encoders for English: folders or hub ids"
    )
    arguments.add_argument("-o", "--output", type=Path, required=True)
    arguments.add_argument("--model", default="splare-e5-small")
    arguments.add_argument("--device", default="auto")
    arguments.add_argument("--originals", action="store_true", help="teach parallel texts by their English alone")
    arguments.add_argument("--bfloat16", action="store_true", help="run the encoders in bfloat16")
    given = arguments.parse_args()
    options = {"device": given.device, "dtype": "bfloat16" if given.bfloat16 else "float32"}
    prepare(
        given.pool,
        given.output,
        bi_encoders={
            ENGLISH[0] if not number else Path(name).name: partial(load_embedder, name, max_length=LENGTH, **options)
            for number, name in enumerate(given.teacher)
        },
        dense=partial(load_embedder, f"dense:{given.model}", **options),
        originals=given.originals,
    )


def prepare(pool: Path, output: Path, *, bi_encoders: dict[str, Load], dense: Load, originals: bool) -> None:
    """Write ``teachers/*.safetensors`` and ``rows/*.jsonl``."""
    sources = {
        path.name.removesuffix(".jsonl.gz"): [row for _, row in read_jsonl(path)]
        for path in sorted(pool.glob("*.jsonl.gz"))
    }
    texts = {name: [((row["query"], row["positive"]), english(row)) for row in rows] for name, rows in sources.items()}
    every = [pair for pairs in texts.values() for pair in pairs]
    read_in_english = [pair for name in sources if name not in OTHER_LANGUAGES for pair in texts[name]]
    in_english = [pair for name in sources if name not in (*OTHER_LANGUAGES, PARALLEL) for pair in texts[name]]
    as_they_are = [(own, own) for own, _ in every]
    teachers = {name: (load, every if originals else read_in_english) for name, load in bi_encoders.items()}
    teachers["bm25"] = (partial(bm25_embedder, "english"), every if originals else in_english)
    teachers["dense"] = (dense, every if originals else as_they_are)
    stores = {name: store(output / "teachers" / f"{name}.safetensors", *how) for name, how in teachers.items()}
    generator = np.random.default_rng(1)
    (output / "rows").mkdir(parents=True, exist_ok=True)
    for name, rows in sources.items():
        names = ENGLISH if originals else TAUGHT.get(name, ENGLISH)
        blend = Teachers([(SCALES[each], stores[each]) for each in names])
        with (output / "rows" / f"{name}.jsonl").open("w", encoding="utf-8") as stream:
            for row in mine(rows, blend, generator):
                stream.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
