"""SAEs trained on one backbone and measured alike: what the notebooks on depth, width and domains share."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from splare_plugins import SplareModel
from splare_plugins.config import HEAD_CARD
from splare_plugins.corpus import read_documents, read_qrels, read_queries, source_identity
from splare_plugins.engines import Hits
from splare_plugins.experiment.collection import open_collection
from splare_plugins.experiment.config import CollectionSettings
from splare_plugins.impacts import Quantizer
from splare_plugins.model.assemble import assemble
from splare_plugins.model.encoder import Encoder
from splare_plugins.model.standardise import standardised
from splare_plugins.retrieval.evaluation import evaluate
from splare_plugins.training.autoencoder.run import train_sae
from splare_plugins.training.autoencoder.settings import SaeSettings

BACKBONE = "splare-e5-small-zero-shot"
MEASURE = "nDCG@10"
THRESHOLD = 0.5
ASKED = ("en", "de")
"""Languages of the questions that are measured."""


@dataclass(frozen=True)
class Sample:
    """Texts whose statistics standardise latents and set scales; none of the queries that are measured."""

    name: str
    queries: list[str]
    documents: list[str]


def write_corpus(path: Path, texts: Mapping[str, str]) -> Path:
    """Texts by id as one file, shuffled: a training that reads a part of it reads of everything."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shuffled = random.Random(0).sample(list(texts.items()), len(texts))
    rows = (json.dumps({"id": name, "text": text}, ensure_ascii=False) for name, text in shuffled)
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def general_texts(
    data: Path,
    folder: Path,
    *,
    languages: Sequence[str] = (),
    abstracts: int = 1500,
    documents: int = 240,
    questions: int = 60,
) -> tuple[Path, Sample]:
    """XQuAD's paragraphs and abstracts of SciFact; and a sample for statistics.

    The sample's questions are in languages that no notebook asks in, and training claims of SciFact.

    Args:
        data: folder of the bundled collections.
        folder: to write the texts to.
        languages: of the paragraphs; by default all that are there.
        abstracts: of SciFact.
        documents: of the sample, about so many.
        questions: of the sample, of each language, and as many claims.
    """
    name = "-".join(languages) or "general"
    languages = languages or sorted(path.name for path in (data / "xquad").iterdir())
    texts = {
        f"{language}-{document.docid}": document.content
        for language in languages
        for document in read_documents(data / "xquad" / language)
    }
    scientific = islice(read_documents(data / "scifact"), abstracts)
    texts |= {document.docid: document.content for document in scientific}
    training = read_qrels(data / "scifact" / "qrels" / "train.tsv")
    claims = [query.text for query in read_queries(data / "scifact") if query.qid in training]
    asked = [
        query.text
        for language in languages
        if language not in ASKED
        for query in islice(read_queries(data / "xquad" / language), questions)
    ]
    every = max(1, len(texts) // documents)
    sample = Sample(name=name, queries=[*claims[:questions], *asked], documents=list(texts.values())[::every])
    return write_corpus(folder / f"{name}.jsonl", texts), sample


def measured(
    settings: SaeSettings,
    corpus: Path,
    sample: Sample,
    collections: Mapping[str, CollectionSettings],
    folder: Path,
    *,
    data: Path,
    budgets: tuple[int, int] = (40, 400),
) -> dict[str, Any]:
    """Train an SAE, put it on its backbone, standardise it, search: what the commands

    ``splare sae train``, ``splare assemble``, ``splare calibrate --standardise 0.5`` and ``splare experiment run`` do.

    Args:
        settings: of the SAE.
        corpus: that it learns from.
        sample: see :class:`Sample`.
        collections: that it is measured on, by what they are called.
        folder: where the figures are kept, so that they are computed once.
        data: folder of the bundled collections.
        budgets: latents of a query and of a document.

    Returns:
        nDCG@10 by collection, and how well the SAE rebuilds states that it did not learn from.
    """
    asked = [asdict(settings), source_identity(corpus), {name: asdict(each) for name, each in collections.items()}]
    digest = hashlib.sha256(json.dumps([*asked, sample.name, budgets]).encode()).hexdigest()[:12]
    sae = folder / f"layer-{settings.layer}-width-{settings.width}-{corpus.stem}"
    known = folder / f"{sae.name}-{digest}.json"
    if known.is_file():
        return json.loads(known.read_text(encoding="utf-8"))
    if not trained_so(sae, settings, corpus):
        train_sae(settings, corpus, sae, device="cpu", overwrite=True)
    with TemporaryDirectory() as place:
        assemble(settings.backbone, str(sae), Path(place) / "model", bidirectional=settings.bidirectional)
        loaded = SplareModel.load(Path(place) / "model", device="cpu", dtype=settings.dtype)
        model = standardised(loaded, sample.queries, sample.documents, threshold=THRESHOLD)
    model.calibrate(sample.queries, sample.documents)
    card = json.loads((sae / HEAD_CARD).read_text(encoding="utf-8"))
    figures = {name: ndcg(model, each, data, budgets) for name, each in collections.items()}
    figures |= {name: card[name] for name in ("explained_variance", "dead_share")}
    known.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def trained_so(sae: Path, settings: SaeSettings, corpus: Path) -> bool:
    """Whether an SAE is there that was trained with these settings on this corpus."""
    if not (sae / HEAD_CARD).is_file():
        return False
    card = json.loads((sae / HEAD_CARD).read_text(encoding="utf-8"))
    asked = {"corpus": source_identity(corpus), "seed": settings.seed, "batch": settings.batch}
    trained = card["trained_tokens"] == settings.steps * settings.batch
    return trained and all(card[name] == value for name, value in asked.items())


def ndcg(model: Encoder, settings: CollectionSettings, data: Path, budgets: tuple[int, int]) -> float:
    """nDCG@10 by the product of impacts, at the budgets of a query and a document."""
    collection = open_collection(settings, data)
    documents = list(collection.documents())
    quantizer = Quantizer.from_config(model.config)
    asked = model.encode_queries([query.text for query in collection.queries], top_k=budgets[0])
    held = model.encode_documents([document.content for document in documents], top_k=budgets[1])
    scores = (quantizer.queries(asked).impacts @ quantizer.documents(held).impacts.T).toarray()
    run = {}
    for query, row in zip(collection.queries, scores, strict=True):
        best = np.argsort(-row, kind="stable")[:100]
        run[query.qid] = Hits([documents[number].docid for number in best], row[best].astype(np.float64))
    return round(evaluate(collection.qrels, run, [MEASURE])[MEASURE], 4)
