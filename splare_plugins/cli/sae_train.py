"""``splare sae train``: an SAE for any backbone and corpus."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import (
    Device,
    DocumentFields,
    Duplicates,
    Json,
    OnDuplicateOption,
    Overwrite,
    corpus_source,
    expand_options,
)
from splare_plugins.errors import splare_command

if TYPE_CHECKING:
    from splare_plugins.training.autoencoder.loop import Progressed

_SHOWN = ("trained_tokens", "passes", "held_out_tokens", "explained_variance", "explained_untrained", "l0")
_DEAD = ("dead_share", "dead_after")


class Activation(StrEnum):
    """What decides which latents of a token fire."""

    topk = "topk"
    batchtopk = "batchtopk"
    jumprelu = "jumprelu"


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is trained and how; the fields are the options."""

    backbone: Annotated[str, typer.Option(help="Hub id, transformers folder, GGUF file or built-in name.")]
    layer: Annotated[int, typer.Option(min=0, help="Layer whose output is rebuilt, counted from 0.")]
    width: Annotated[int, typer.Option(min=1, help="Number of latents.")]
    k: Annotated[int, typer.Option("--k", min=1, help="Latents that a token keeps, or keeps in the mean.")] = 32
    activation: Annotated[
        Activation, typer.Option(help="What decides which fire: k of each token, k of a batch, or thresholds.")
    ] = Activation.topk
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub backbone.")] = None
    causal: Annotated[bool, typer.Option("--causal", help="Leave a decoder's attention causal.")] = False
    prompt: Annotated[str, typer.Option(help="Text before each document, encoded and not learnt from.")] = ""
    max_length: Annotated[int | None, typer.Option(help="Tokens kept of a document; 512 where left out.")] = None
    max_token_norm_ratio: Annotated[
        float | None,
        typer.Option(min=1, help="Leave out tokens whose state is longer than this multiple of the text's median."),
    ] = None
    tokens: Annotated[int, typer.Option(min=1, help="To learn from; a smaller corpus is read again.")] = 1_000_000
    batch: Annotated[int, typer.Option(min=1, help="Tokens of a step.")] = 1024
    buffer: Annotated[int, typer.Option(min=1, help="Tokens whose states are kept and shuffled.")] = 32_768
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default="by activation and width")] = None
    seed: Annotated[int, typer.Option(help="Of the first weights and of the shuffling.")] = 0
    dtype: Annotated[str, typer.Option(help="Of the backbone: auto, float32, bfloat16, float16.")] = "auto"


@expand_options
def train(
    corpus: Annotated[
        list[str], typer.Argument(help="BEIR folder; JSONL, TSV, CSV or Parquet files; irds:NAME; mteb:TASK.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the SAE.")],
    training: Training,
    fields: DocumentFields,
    on_duplicate: OnDuplicateOption = Duplicates.error,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Train an SAE on the states of a backbone's layer; a run that was killed goes on under the same command."""
    from splare_plugins.cli.console import console, progress, report
    from splare_plugins.training.autoencoder.run import train_sae
    from splare_plugins.training.autoencoder.settings import SaeSettings

    values = {**asdict(training), "activation": training.activation.value}
    settings = SaeSettings(**{"bidirectional": not values.pop("causal"), "learning_rate": values.pop("lr")}, **values)

    def say(now: Progressed) -> None:
        console.print(
            f"{now.tokens:,} of {settings.steps * settings.batch:,} tokens: {now.explained:.3f} of a batch's variance "
            f"explained, {now.dead_share:.1%} of the latents dead",
            highlight=False,
        )

    with progress("training", settings.steps * settings.batch) as advance:
        head = train_sae(
            settings,
            corpus_source(corpus),
            output,
            fields=fields.names,
            on_duplicate=on_duplicate.value,
            device=device,
            overwrite=overwrite,
            on_progress=advance,
            on_report=say,
        )
    facts = {
        "folder": str(output),
        "width": head.width,
        "k": settings.k,
        "activation": settings.activation,
        "layer": settings.layer,
        **{name: head.card[name] for name in _SHOWN + _DEAD},
        "next": splare_command("assemble", "--backbone", settings.backbone, "--sae", output, "-o", "MODEL"),
    }
    report(f"trained {output}", facts, as_json=as_json)
