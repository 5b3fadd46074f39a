"""Training: distillation into sparse latents, on the trainer of sentence-transformers.

``splare train CONFIG.yaml`` is :func:`splare_plugins.training.run.train` with a :class:`TrainingConfig` from a file.
May import all rooms but serving and the command line.
"""

from __future__ import annotations
