"""What the libraries underneath may say while one of our programs runs: what a user can act on, and nothing else."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

OURS = ("splare_plugins", "pyserini_splare", "pyterrier_splare", "opensearch_splare", "__main__")
"""Packages whose log is for the people who run a program, and a module of theirs that ``python -m`` runs."""


def quiet_libraries(*, verbose: bool = False) -> None:
    """Keep the progress bars and the advice of the libraries underneath away; before they are imported."""
    for library in ("opensearch", "bitsandbytes"):
        logging.getLogger(library).setLevel(logging.INFO if verbose else logging.ERROR)
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "info" if verbose else "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    if not verbose and not sys.warnoptions:
        # Both speak of code that is not the user's; other warnings, of an old driver for one, stay.
        for category in (FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)


@contextmanager
def importing_saelens() -> Iterator[None]:
    """Around an import of SAELens: what it silences for the whole process, transformers, keeps its level.

    It imports bitsandbytes, where that is installed, which says that a processor is slow for it.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    transformers = logging.getLogger("transformers")
    level = transformers.level
    try:
        yield
    finally:
        transformers.setLevel(level)


def is_for_users(record: logging.LogRecord) -> bool:
    """Filter of a log handler: all of ours, and what other libraries warn of, whatever level they set themselves."""
    return record.levelno >= logging.WARNING or record.name.partition(".")[0] in OURS
