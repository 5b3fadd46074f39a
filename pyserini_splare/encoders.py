"""Encoders for the unmodified Pyserini: its ``LuceneImpactSearcher`` and its encoding loop.

Importing this module imports ``pyserini.encode``, which takes half a minute and brings torch; our own searcher
and command lines do without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.error import URLError

from pyserini_splare.jvm import start_jvm
from splare_plugins.errors import MissingPartError
from splare_plugins.impacts import to_dicts

# Ours must run before pyserini is imported: it would start Java in its own way, which fails with slim runtimes.
start_jvm()

try:
    from pyserini.encode import DocumentEncoder, QueryEncoder
except URLError as error:
    raise MissingPartError(
        f"this pyserini fetches a list of indexes when it is imported, and cannot reach it ({error.reason}): "
        "connect this machine to the network, or run pip install 'pyserini<2.4'"
    ) from error


class SplareQueryEncoder(QueryEncoder):
    """Encodes queries for ``LuceneImpactSearcher(index, SplareQueryEncoder(), min_idf=-1)``.

    Without ``min_idf=-1`` that searcher drops latents that occur in every document.

    Args:
        model: a ``SplareModel``, or a name or path to load one from.
        device: where a model that is loaded here runs.
        runtime: what computes it there; see ``SplareModel.from_pretrained``.
        query_encoder: likewise; ``"static"`` is the model's table of tokens.
        top_k: latents kept of a text; by default the model's number.
    """

    def __init__(
        self,
        model: Any = None,
        *,
        device: str = "auto",
        runtime: str = "auto",
        query_encoder: str = "model",
        top_k: int | str | None = "model",
    ) -> None:
        # The base class's __init__ loads vectors encoded beforehand and its argument changed its name in 2.0.
        self.model = _load_queries(model, device, runtime, query_encoder)
        self._top_k = top_k

    def encode(self, query: str, **_: Any) -> dict[str, int]:
        """Impacts by term; Python integers, since Java takes no others.

        Args:
            query: one query; ``None`` is an empty one.
            **_: options of other encoders, which Pyserini passes to all.
        """
        weights = self.model.encode_queries([query or ""], top_k=self._top_k)
        return to_dicts(self.model.quantizer.queries(weights).impacts)[0]


class SplareDocumentEncoder(DocumentEncoder):
    """Encodes documents as ``python -m pyserini.encode`` and its Python API ask for it.

    Arguments are those of :class:`SplareQueryEncoder`; the name of ``model_name`` is Pyserini's.
    """

    def __init__(
        self, model_name: Any = None, device: str = "auto", *, runtime: str = "auto", top_k: int | str | None = "model"
    ) -> None:
        self.model = _load(model_name, device, runtime)
        self._top_k = top_k

    def encode(
        self, texts: Sequence[str | None], titles: Sequence[str | None] | None = None, **_: Any
    ) -> list[dict[str, int]]:
        """Impacts by term, one dictionary for each document.

        Args:
            texts: Pyserini gives ``None`` for an empty field; it counts as absent.
            titles: put before the texts.
            **_: options of other encoders, such as ``fp16`` and ``max_length``; the model's own settings apply.
        """
        parts = zip(titles, texts, strict=True) if titles is not None else zip(texts, strict=True)
        contents = [" ".join(filter(None, fields)) for fields in parts]
        weights = self.model.encode_documents(contents, top_k=self._top_k)
        return to_dicts(self.model.quantizer.documents(weights).impacts)


def _load_queries(model: Any, device: str, runtime: str, query_encoder: str) -> Any:
    from splare_plugins.model.builtin import BUILTIN_MODEL
    from splare_plugins.model.queries import load_static_queries

    table = None
    if not hasattr(model, "encode_queries"):
        table = load_static_queries(BUILTIN_MODEL if model is None else model, query_encoder)
    return table or _load(model, device, runtime)


def _load(model: Any, device: str, runtime: str) -> Any:
    if hasattr(model, "encode_queries"):
        return model
    from splare_plugins.model import SplareModel

    arguments = () if model is None else (model,)
    return SplareModel.from_pretrained(*arguments, device=device, runtime=runtime)
