"""Backbone and SAE of the wheel as they are, neither trained nor calibrated, which learning is measured against.

``python examples/small_model/untrained.py DATA -o untrained`` writes a model folder; the texts under DATA only set the
scales of the quantiser.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from splare_plugins.errors import InputError
from splare_plugins.model.builtin import ZERO_SHOT_MODEL
from splare_plugins.model.builtin.convert import raw_head
from splare_plugins.model.splare import SplareModel
from splare_plugins.retrieval.calibrate_builtin import sample_documents, sample_queries

SAMPLE = 200


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path, help="folder that holds xquad and scifact, such as examples/data")
    arguments.add_argument("-o", "--output", type=Path, required=True)
    given = arguments.parse_args()
    try:
        queries, documents = (list(source(given.data))[::8][:SAMPLE] for source in (sample_queries, sample_documents))
    except InputError as error:
        arguments.error(f"{error}; name a folder that holds xquad and scifact")
    calibrated = SplareModel.from_pretrained(ZERO_SHOT_MODEL)
    config = dataclasses.replace(
        calibrated.config, name=f"{ZERO_SHOT_MODEL}-uncalibrated", revision="1", backbone_revision=None
    )
    model = SplareModel(config, calibrated.backbone, raw_head())
    model.calibrate(queries, documents)
    model.save_pretrained(given.output)


if __name__ == "__main__":
    main()
