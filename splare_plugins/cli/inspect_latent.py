"""``splare inspect MODEL --latent LATENT``: what one latent stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from splare_plugins.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from rich.text import Text

    from splare_plugins.config import SplareConfig
    from splare_plugins.latents.table import LatentLabel, Shown

NEIGHBOURS = 5
_AROUND = 60
"""Characters of a context shown on either side of its word."""


def inspect_latent(what: str, latent: str, *, as_json: bool) -> None:
    """Print what is known of a latent of the model ``what``."""
    from splare_plugins.cli.console import print_json
    from splare_plugins.latents.table import read_latent, require_latent
    from splare_plugins.model.describe import describe_model

    config, _, folder = describe_model(what)
    number = _number(latent)
    require_latent(config, number)
    if not (folder / config.head).is_dir() or config.head_kind != "sae":
        raise InputError(f"the latents of {what} are tokens of its vocabulary, which are their own labels")
    known = read_latent(folder, config, number)
    near = _near(folder, config, number)
    names = {each: _text(read_latent(folder, config, each)) for each in [*dict(near), *dict(_beside(known))]}
    if as_json:
        beside = [{"latent": each, "cosine": cosine, "label": names[each]} for each, cosine in _beside(known)]
        directions = [{"latent": each, "cosine": cosine, "label": names[each]} for each, cosine in near]
        values = known.to_dict() if known is not None else {"latent": number, "text": None}
        print_json({**values, "neighbours": beside, "directions": directions})
        return
    _show(number, known, near, names)


def _number(latent: str) -> int:
    digits = latent.removeprefix("f")
    if not (digits.isascii() and digits.isdigit()):
        raise InputError(f"--latent takes a number or a pseudo-term, such as 7336 or f7336, not {latent!r}")
    return int(digits)


def _beside(known: LatentLabel | None) -> list[tuple[int, float]]:
    return known.neighbours[:NEIGHBOURS] if known is not None else []


def _text(known: LatentLabel | None) -> str | None:
    return known.text if known is not None else None


def _near(folder: Path, config: SplareConfig, latent: int) -> list[tuple[int, float]]:
    """Latents whose rows of the encoder point the same way, with the cosine."""
    from torch.nn import functional

    from splare_plugins.heads import load_head

    rows = load_head(config.head_kind, folder / config.head).W.float()
    cosines = functional.cosine_similarity(rows, rows[latent][None])
    cosines[latent] = -1
    values, latents = cosines.topk(min(NEIGHBOURS, len(rows) - 1))
    return [(each, round(value, 3)) for each, value in zip(latents.tolist(), values.tolist(), strict=True)]


def _show(latent: int, known: LatentLabel | None, near: list[tuple[int, float]], names: dict[int, Any]) -> None:
    from splare_plugins.cli.console import print_facts, results

    def listed(latents: list[tuple[int, float]]) -> str | None:
        return "; ".join(f"f{each} {names[each] or ''} ({cosine:.2f})" for each, cosine in latents) or None

    facts: dict[str, Any] = {"label": _text(known) or "none; make some with splare labels build"}
    if known is not None:
        facts |= {
            "written by": known.source,
            "label's score": None if known.score is None else f"{known.score:.0%} of choices against others right",
            "fires in documents": f"{known.documents:.2%} of contexts" if known.documents else None,
            "fires in queries": None if known.queries is None else f"{known.queries:.2%}",
            "languages": ", ".join(f"{name or 'unknown'} {count}" for name, count in known.languages.items()) or None,
        }
    facts |= {"fires beside": listed(_beside(known)), "points as": listed(near)}
    print_facts(f"f{latent}", facts)
    for shown in known.contexts if known is not None else []:
        results.print(_line(shown), soft_wrap=True)


def _line(shown: Shown) -> Text:
    # Text, not str: contexts may hold square brackets, which rich would read as markup.
    from rich.text import Text

    before, after = shown.text[: shown.start], shown.text[shown.end :]
    before = before if len(before) <= _AROUND else "..." + before[-_AROUND:]
    after = after if len(after) <= _AROUND else after[:_AROUND] + "..."
    return Text.assemble(
        f"  {shown.weight:.2f} ",
        (shown.language and f"{shown.language} ", "dim"),
        before,
        (shown.word, "bold reverse"),
        after,
        (f"  {shown.source}", "dim"),
    )
