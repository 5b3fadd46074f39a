"""What models made of texts, each once: encoded parts and vectors in the folder of an experiment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz

from splare_plugins.config import FULL, Side, SplareConfig
from splare_plugins.corpus import EncodedFolder
from splare_plugins.experiment.collection import Collection
from splare_plugins.experiment.config import ExperimentConfig, SystemSettings
from splare_plugins.machine import Progress
from splare_plugins.machine.files import replacing
from splare_plugins.model.find import lasting_name
from splare_plugins.model.queries import load_static_queries

if TYPE_CHECKING:
    from splare_plugins.model.encoder import Encoder
    from splare_plugins.static import StaticQueryEncoder

Steps = Callable[[str], Progress]
"""Is told what begins, and gives what is told of its progress."""


class Encodings:
    """Texts as one model encodes them; the model is loaded when a text is not encoded yet.

    Documents are kept with the most latents that a system of the experiment asks for; a smaller budget keeps the
    largest impacts of these, and of equal ones the lower latent. Queries are kept with all their weights.

    Args:
        name: of the model.
        config: of the experiment.
        folder: where encodings are kept.
        steps: told what begins.

    Attributes:
        most: latents kept of a document.
    """

    def __init__(self, name: str, config: ExperimentConfig, folder: Path, steps: Steps) -> None:
        self.name = name
        self._settings = config
        self._folder = folder
        self._steps = steps
        self._tables: dict[str, StaticQueryEncoder | None] = {}
        self.most = _most(name, config, self.config)

    @cached_property
    def config(self) -> SplareConfig:
        """The model's, read without its weights where that can be."""
        from splare_plugins.model.describe import describe_model

        return describe_model(self.name).config

    @cached_property
    def model(self) -> Encoder:
        """The model, loaded."""
        from splare_plugins.model import SplareModel

        settings = self._settings
        model = SplareModel.from_pretrained(
            self.name, device=settings.device, dtype=settings.dtype, runtime=settings.runtime, query_encoder=FULL
        )
        model.config = replace(model.config, location=lasting_name(self.name))
        return model

    @property
    def key(self) -> str:
        """Tells what this model makes of texts from what others make."""
        settings = self._settings
        how = [each for each in (settings.device, settings.dtype, settings.runtime) if each != "auto"]
        return "-".join([self.config.index_fingerprint(), *how])

    def documents(self, collection: Collection) -> EncodedFolder:
        """Impacts of documents; parts that are there are not made again."""
        folder = self._folder / f"{self.key}-{collection.corpus}-{self._settings.part_size}-{self.most or 'all'}"
        if not any(folder.glob("shard-*.json")):
            from splare_plugins.retrieval.indexing import encode_shard

            advance = self._steps(f"{self.name} encodes the documents of {collection.name}")
            encode_shard(
                self.model,
                collection.source,
                str(folder),
                top_k=self.most,
                part_size=self._settings.part_size,
                on_progress=advance,
            )
        return EncodedFolder(folder)

    def table(self, query_encoder: str) -> StaticQueryEncoder | None:
        """What encodes queries in the model's place, if that is asked for."""
        if query_encoder not in self._tables:
            known = replace(self.config, location=self.name)
            self._tables[query_encoder] = load_static_queries(self.name, query_encoder, config=known)
        return self._tables[query_encoder]

    def query_key(self, query_encoder: str) -> str:
        """Tells what encodes queries, as :attr:`key` tells what encodes documents."""
        table = self.table(query_encoder)
        return self.key if table is None else f"{self.config.index_fingerprint()}-static-{table.fingerprint}"

    def queries(self, collection: Collection, query_encoder: str = "model") -> csr_array:
        """Weights of queries, all of them."""
        path = self._folder / f"{self.query_key(query_encoder)}-{collection.asked}-queries.npz"
        if not path.is_file():
            advance = self._steps(f"{self.name} encodes the queries of {collection.name}")
            texts = [query.text for query in collection.queries]
            encoder = self.table(query_encoder) or self.model
            made = encoder.encode_queries(texts, top_k=None, on_progress=advance)
            with replacing(path) as beside, beside.open("wb") as stream:
                save_npz(stream, made)
        return csr_array(load_npz(path))

    def vectors(self, collection: Collection, side: Side) -> np.ndarray:
        """Vectors of the backbone as the dense encoder that it was; parts that are there are not made again."""
        size = self._settings.part_size
        if side == "document":
            texts, name = (document.content for document in collection.documents()), collection.corpus
        else:
            texts, name = (query.text for query in collection.queries), collection.asked
        folder = self._folder / f"{self.key}-{name}-{size}-dense"
        advance: Progress | None = None
        parts: list[np.ndarray] = []
        for number, part in enumerate(iter(lambda: list(islice(texts, size)), [])):
            path = folder / f"part-{number:06d}.npy"
            if not path.is_file():
                from splare_plugins.model.dense import dense_vectors

                advance = advance or self._steps(
                    f"the backbone of {self.name} encodes the {side} texts of {collection.name}"
                )
                made = dense_vectors(self.model, part, side, on_progress=advance)
                with replacing(path) as beside, beside.open("wb") as stream:
                    np.save(stream, made)
            parts.append(np.load(path))
        return np.concatenate(parts)


def document_budget(system: SystemSettings, config: SplareConfig) -> int | None:
    """Latents that a system keeps of a document."""
    return config.document.top_k if system.document_top_k == "model" else system.document_top_k


def query_budget(system: SystemSettings, config: SplareConfig) -> int | None:
    """Likewise of a query."""
    return config.query.top_k if system.query_top_k == "model" else system.query_top_k


def _most(name: str, settings: ExperimentConfig, config: SplareConfig) -> int | None:
    """The most latents of a document that a system with this model keeps."""
    if settings.keep_all:
        return None
    sparse = [each for each in settings.systems if each.way in ("splare", "splade") and each.model_name == name]
    budgets = [document_budget(system, config) for system in sparse]
    return None if not budgets or None in budgets else max(each for each in budgets if each is not None)
