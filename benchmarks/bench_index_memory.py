"""Peak memory of ``splare index`` for 2,000 and 20,000 documents: it must not grow with the corpus.

The model is a tiny random one, so that memory is that of the pipeline and the engine, not of a large backbone.

    python benchmarks/bench_index_memory.py [--engine lucene] [--documents 2000 20000]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from pathlib import Path

from harness import Figure, add_options, require_same, write_record
from memory import Cost, run_measured

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = 1.15


def write_corpus(path: Path, documents: int) -> None:
    """Documents of 5 to 40 random words, titles on some of them."""
    draw = random.Random(documents)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(5000)]
    with path.open("w", encoding="utf-8") as stream:
        for number in range(documents):
            text = " ".join(draw.choices(words, k=draw.randint(5, 40)))
            stream.write(json.dumps({"_id": f"doc-{number:07d}", "text": text}) + "\n")


def cost_of_index(engine: str, corpus: Path, index: Path, model: Path) -> Cost:
    """What ``splare index`` takes in a process of its own."""
    command = [sys.executable, "-m", "splare_plugins", "index", engine, str(corpus)]
    return run_measured([*command, "-o", str(index), "--model", str(model), "--device", "cpu"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="lucene", help="one that keeps its index on disk")
    parser.add_argument("--documents", nargs=2, type=int, default=[2000, 20_000])
    add_options(parser, {"documents": [200, 1000]})
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from splare_plugins.engines import get_engine
    from tests.tiny import save_tiny_model

    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        model = save_tiny_model(Path(folder) / "model")
        print(f"{'documents':>10} {'peak MiB':>9} {'seconds':>8}")
        for documents in arguments.documents:
            corpus = Path(folder) / f"{documents}.jsonl"
            write_corpus(corpus, documents)
            cost = cost_of_index(arguments.engine, corpus, Path(folder) / f"index-{documents}", model)
            with get_engine(arguments.engine).searcher(str(Path(folder) / f"index-{documents}")) as searcher:
                require_same("numbers of documents in the corpus and in the index", searcher.num_docs, documents)
            peaks.append(cost.memory)
            print(f"{documents:>10,} {cost.memory:>9.0f} {cost.wall:>8.1f}")
    ratio = peaks[1] / peaks[0]
    print(f"ratio {ratio:.3f} (at most {ALLOWED}): {'reached' if ratio <= ALLOWED else 'not reached'}")
    few, many = arguments.documents
    figure = Figure(
        what=f"`splare index {arguments.engine}`, peak memory, {many:,} documents",
        against=f"{few:,} documents",
        ratio=[ratio],
        unit=["of theirs"],
        aim=ALLOWED,
        at="most",
        command="bench_index_memory.py",
    )
    write_record(arguments, [figure])


if __name__ == "__main__":
    main()
