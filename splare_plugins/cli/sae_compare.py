"""``splare sae compare``: two SAEs on the same texts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from splare_plugins.cli.options import Device, Json
from splare_plugins.config import CONFIG_FILE, HEAD_CARD
from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from splare_plugins.model.splare import SplareModel

NO_JUDGEMENTS = "nDCG needs judgements, which only a BEIR folder has (qrels/)"
OTHER_TOKENS = "the two models split these texts into other tokens, so what fires on them cannot be matched"


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Model folder or built-in name, or folder of an SAE.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Likewise.")],
    corpus: Annotated[str, typer.Argument(help="BEIR folder; without judgements in it, nDCG is left out.")],
    backbone: Annotated[
        str | None,
        typer.Option(help="Of a folder of an SAE.", show_default="what `splare sae train` was given, unless a folder"),
    ] = None,
    tokens: Annotated[int, typer.Option(min=2, help="First tokens of the corpus, on which latents fire.")] = 2048,
    split: Annotated[str, typer.Option(help="Split of the judgements.")] = "test",
    measure: Annotated[str, typer.Option(help="As ir-measures writes it.")] = "nDCG@10",
    queries: Annotated[int | None, typer.Option(min=1, help="Most queries.")] = None,
    documents: Annotated[int | None, typer.Option(min=1, help="Most documents; judged ones are kept.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare two SAEs: explained variance, L0, silent latents, overlap of what fires, and nDCG at the same budgets.

    Latents are matched by how they fire on the same tokens, each with its best partner (Jaccard), and by their ids.
    The explained variance is that of training, where an SAE was trained here; explained by rows is, of any SAE, the
    share in the span of the active latents' encoder rows.
    """
    from splare_plugins.cli.console import console, print_json, print_table, results
    from splare_plugins.training.autoencoder.compare import fired, ndcg, overlap
    from splare_plugins.training.config import EvaluationSettings

    with ExitStack() as stack:
        with console.status(f"loading {a} and {b}"):
            models = [stack.enter_context(_model(each, backbone, device)) for each in (a, b)]
        with console.status("comparing"):
            both = [fired(model, corpus, tokens=tokens) for model in models]
            alike = overlap(*both)
            judged = (Path(corpus) / "qrels").is_dir()
            settings = EvaluationSettings(
                source=corpus, split=split, queries=queries, documents=documents, measure=measure
            )
            found = ndcg(models, settings) if judged else {}
    facts = [
        {
            **{"name": model.config.name, "layer": model.config.layer, "width": each.firing.shape[1]},
            "explained_variance": getattr(model.head, "card", {}).get("explained_variance"),
            **{"explained_by_rows": round(each.explained, 4), "l0": round(each.l0, 2)},
            "silent_share": round(each.silent_share, 4),
            "overlap": None if alike is None else round(share, 4),
        }
        for model, each, share in zip(models, both, (alike.a, alike.b) if alike else (0, 0), strict=True)
    ]
    same_id = None if alike is None or alike.same_id is None else round(alike.same_id, 4)
    values = {_budget(each): [round(value, 4) for value in pair] for each, pair in found.items()}
    notes = [note for note, holds in ((NO_JUDGEMENTS, not judged), (OTHER_TOKENS, alike is None)) if holds]
    if as_json:
        shown = {"tokens": len(both[0].spans), "a": facts[0], "b": facts[1], "overlap_same_id": same_id}
        print_json({**shown, "measure": measure, "budgets": values, "notes": notes})
        return
    rows = [
        [name.replace("_", " "), *("" if each[name] is None else str(each[name]) for each in facts)]
        for name in facts[0]
    ]
    rows += [["overlap, same id", str(same_id), str(same_id)]] if same_id is not None else []
    rows += [[f"{measure}, {budget}", *map(str, pair)] for budget, pair in values.items()]
    print_table(f"on {len(both[0].spans):,} tokens of {corpus}", ("", a, b), rows)
    for note in notes:
        results.print(note, highlight=False, soft_wrap=True)


def _budget(budget: tuple[int | None, int | None]) -> str:
    return "/".join("all" if limit is None else str(limit) for limit in budget)


@contextmanager
def _model(name: str, backbone: str | None, device: str) -> Iterator[SplareModel]:
    """The model of that name, or one that is put together of an SAE and its backbone for as long as it is needed."""
    from splare_plugins.machine.files import read_json
    from splare_plugins.model.assemble import assemble
    from splare_plugins.model.find import NAMED
    from splare_plugins.model.splare import SplareModel

    folder = Path(name)
    if (folder / CONFIG_FILE).is_file() or not (folder / HEAD_CARD).is_file():
        yield SplareModel.load(name, device=device)
        return
    card = read_json(folder / HEAD_CARD)
    base = str(card.get("base_model") or "another model")
    # Of a folder the card has the name alone, and its hash; older cards have its path.
    here = base in NAMED or Path(base).is_absolute() or not card.get("backbone_sha256")
    if (chosen := backbone or (base if "trained_tokens" in card and here else None)) is None:
        raise InputError(f"{name} is an SAE alone, trained on {base}; name that model with --backbone")
    with TemporaryDirectory(prefix="splare-sae-") as place:
        bidirectional = card.get("bidirectional", True)
        assemble(chosen, name, Path(place) / "model", bidirectional=bidirectional, name=name, copy_backbone=False)
        yield SplareModel.load(Path(place) / "model", device=device)
