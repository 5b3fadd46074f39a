"""SPLARE: learned sparse retrieval with the latents of a sparse autoencoder.

``SplareModel`` turns text into latent weights, ``Quantizer`` turns those into integer impacts of
pseudo-terms ``f12345``, and the engines index and search them. Importing this package imports neither torch
nor Java; that happens when a model or an engine is used.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from splare_plugins.machine.lazy import lazy_names
from splare_plugins.machine.moved import MovedModules

if TYPE_CHECKING:
    from splare_plugins.config import SideConfig, SplareConfig
    from splare_plugins.errors import SplareError
    from splare_plugins.impacts import Quantizer
    from splare_plugins.model.splare import SplareModel
    from splare_plugins.static import StaticQueryEncoder, load_static

__version__ = "0.1.0"
__all__ = [
    "Quantizer",
    "SideConfig",
    "SplareConfig",
    "SplareError",
    "SplareModel",
    "StaticQueryEncoder",
    "__version__",
    "load_static",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Quantizer": "impacts",
        "SideConfig": "config",
        "SplareConfig": "config",
        "SplareError": "errors",
        "SplareModel": "model",
        "StaticQueryEncoder": "static",
        "load_static": "static",
    },
)

_MOVED = {
    "assemble": "model.assemble",
    "batching": "model.batching",
    "builtin": "model.builtin",
    "builtin.cache": "model.builtin",
    "builtin.calibrate": "retrieval.calibrate_builtin",
    "card": "model.card",
    "dense": "model.dense",
    "describe": "model.describe",
    "evaluation": "retrieval.evaluation",
    "explain": "retrieval.explain",
    "feedback": "retrieval.feedback",
    "files": "machine.files",
    "hub": "machine.hub",
    "indexing": "retrieval.indexing",
    "java": "machine.java",
    "labels": "heads.labels",
    "locate": "model.find",
    "model.locate": "model.find",
    "mteb_search": "retrieval.mteb_search",
    "splade": "model.splade",
    "training.embed": "training.data.embed",
    "training.flops": "training.losses",
    "training.mine": "training.data.mine",
    "training.score": "training.data.score",
    "training.teachers": "training.data.teachers",
}
sys.meta_path.insert(0, MovedModules(__name__, _MOVED))
