"""``splare calibrate``: the two scales that turn a model's weights into impacts."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from splare_plugins.cli.options import Json, Loading, Overwrite, corpus_source, expand_options, load_model
from splare_plugins.errors import InputError


@expand_options
def calibrate(
    model: Annotated[str, typer.Argument(help="Model folder, hub id or built-in name; a SPLADE model too.")],
    corpus: Annotated[
        list[str], typer.Argument(help="BEIR folder, JSONL or TSV files (also .gz), irds:NAME, mteb:TASK.")
    ],
    loading: Loading,
    queries: Annotated[
        str | None,
        typer.Option("--queries", "-q", help="Where sample queries are; those of a BEIR folder if left out."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of the calibrated model; the model's own folder if left out."),
    ] = None,
    sample: Annotated[int, typer.Option(min=1, help="Texts encoded a side, the first of each.")] = 1000,
    standardise: Annotated[
        float | None,
        typer.Option(
            help="First count the latents of an SAE in deviations from their mean over the sample, from this many on: "
            "0.5 makes one that nobody trained for retrieval fit for pruning. Another model, so it takes -o.",
            show_default="left as they are",
        ),
    ] = None,
    percentile: Annotated[float, typer.Option(help="Of the weights, mapped to the largest impact.")] = 99.9,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Set a model's quantiser scales from text, so that it can be indexed; its float vectors stay the same."""
    from splare_plugins.cli.console import console, report_model
    from splare_plugins.config import CONFIG_FILE
    from splare_plugins.corpus import read_documents, read_queries
    from splare_plugins.corpus.sources import is_catalogued
    from splare_plugins.machine.files import require_free
    from splare_plugins.model.find import PREFIX, require_model_name
    from splare_plugins.model.standardise import standardised

    if not 0 < percentile <= 100:
        raise InputError(f"--percentile takes a number above 0, at most 100, not {percentile:g}")
    require_model_name(model.removeprefix(PREFIX))
    own = (Path(model) / CONFIG_FILE).is_file()
    if standardise is not None and (output is None or output.resolve() == Path(model).resolve()):
        raise InputError(f"standardised latents are another model's than those of {model}; add -o and another folder")
    if output is None:
        if not own:
            raise InputError(
                f"{model} is not a SPLARE folder whose config could be rewritten; correct the name, or add -o FOLDER "
                "to calibrate a copy"
            )
        output = Path(model)
    elif not (own and output.resolve() == Path(model).resolve()):
        require_free(output, overwrite=overwrite, marker=CONFIG_FILE, what="model")
    source = corpus_source(corpus)
    documents = [document.content for document in islice(read_documents(source), sample)]
    if queries is None and not (Path(corpus[0]).is_dir() or is_catalogued(corpus[0])):
        raise InputError("calibrating needs queries too; name a file of some with --queries")
    asked = [query.text for query in islice(read_queries(queries or source), sample)]
    loaded = load_model(model, loading)
    with console.status(f"encoding {len(asked)} queries and {len(documents)} documents"):
        if standardise is not None:
            loaded = standardised(loaded, asked, documents, threshold=standardise)
        loaded.calibrate(asked, documents, percentile)
        loaded.save_pretrained(output)
    facts = {
        "index_fingerprint": loaded.config.index_fingerprint(),
        **({} if standardise is None else {"standardised_beyond": standardise}),
        "queries": len(asked),
        "documents": len(documents),
        "query_scale": loaded.config.query.scale,
        "document_scale": loaded.config.document.scale,
    }
    report_model("calibrated", output, loaded.config, facts, as_json=as_json)
