"""A folder with a graph and its tokenizer: texts to latent weights without torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from splare_plugins.backbone.tokens import Tokens, padded_batch, tokenise
from splare_plugins.config import SplareConfig
from splare_plugins.runtime.card import TOKENIZER_FILE, GraphCard
from splare_plugins.runtime.session import STATES, WEIGHTS, open_session


class Graph:
    """A model's graph, loaded.

    Args:
        folder: what :func:`splare_plugins.runtime.convert.write_graph` wrote.
        bfloat16: compute in bfloat16 where the processor has it.
        threads: of the processor.
        verify: compare the files with the hashes that were written with them.

    Attributes:
        card: what the folder says of itself.
        bfloat16: as given.

    Raises:
        InputError: if a file is missing or damaged.
        MissingPartError: if the package that runs it is not installed.
    """

    def __init__(self, folder: Path, *, bfloat16: bool, threads: int, verify: bool = True) -> None:
        self.card = GraphCard.load(folder)
        if verify:
            self.card.require_files(folder)
        self.bfloat16 = bfloat16
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._session = open_session(self.card.format, folder / self.card.graph, bfloat16=bfloat16, threads=threads)

    def tokenize(self, texts: Sequence[str], prompt: str, max_length: int) -> list[Tokens]:
        """As :meth:`splare_plugins.backbone.Backbone.tokenize`."""
        self._tokenizer.enable_truncation(max_length, direction=self.card.cut)

        def encode(heads: list[str]) -> list[Any]:
            return list(self._tokenizer.encode_batch(heads))

        return tokenise(encode, texts, prompt, max_length)

    def weights(self, config: SplareConfig, batch: Sequence[Tokens]) -> np.ndarray:
        """Latent weights of texts, float32, shape ``[texts, width]``."""
        return self._session.run(*padded_batch(config, batch, self.card.pad_id), WEIGHTS)

    def states(self, config: SplareConfig, tokens: Tokens) -> np.ndarray:
        """States of the tokens of one text, float32, shape ``[tokens, d]``."""
        states: np.ndarray = self._session.run(*padded_batch(config, [tokens], self.card.pad_id), STATES)[0]
        return states
