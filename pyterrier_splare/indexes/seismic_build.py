"""A script: a Seismic index out of the impacts that :mod:`pyterrier_splare.indexes.seismic_engine` wrote.

python -P seismic_build.py IMPACTS CLASS OUTPUT PARAMETERS
"""

from __future__ import annotations

import json
import sys

import numpy as np
import seismic
from safetensors.numpy import load_file


def main(impacts: str, kind: str, output: str, parameters: str) -> None:
    """Build with the classes of ``kind`` (``""`` or ``"LV"``) and save at ``output``."""
    tensors = load_file(impacts)
    rows = tensors["rows"]
    numbers = [str(number) for number in range(len(rows) - 1)]
    dataset = getattr(seismic, f"SeismicDataset{kind}")()
    values = tensors["impacts"].astype(np.float32)
    dataset.add_documents_by_id(numbers, tensors["latents"].astype(np.int64), values, rows)
    index = getattr(seismic, f"SeismicIndex{kind}").build_from_dataset(dataset, **json.loads(parameters))
    index.save(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
