from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from splare_plugins.st import SplareEncoder


@pytest.fixture
def encoder(tiny_folder: Path) -> SplareEncoder:
    return SplareEncoder.from_pretrained(tiny_folder, device="cpu")


def dense(vectors: Tensor) -> np.ndarray:
    return (vectors.to_dense() if vectors.is_sparse else vectors).numpy()


def add_lora(encoder: SplareEncoder, **options: object) -> None:
    """An adapter that changes vectors at once: B is not zero."""
    from peft import LoraConfig

    torch.manual_seed(1)
    encoder.add_adapter(LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False, **options))
