"""What encodes a model's queries where that is a table; found without torch and without the model's weights."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from splare_plugins.config import CONFIG_FILE, FULL, STATIC, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.heads.labels import LABELS
from splare_plugins.model.builtin import BUILTIN_MODELS
from splare_plugins.model.builtin.shipped import settings, shipped
from splare_plugins.model.find import PREFIX, locate_model
from splare_plugins.static import StaticQueryEncoder, is_static, load_static

MODEL = "model"
NAMES = (MODEL, FULL, STATIC)
"""What may encode queries: what the model's config says, the model itself, the table in its folder. Any other name is
that of a folder with a table."""


def load_static_queries(
    name: str | Path,
    query_encoder: str = STATIC,
    *,
    config: SplareConfig | None = None,
    folder: Path | None = None,
    revision: str | None = None,
    local_files_only: bool = False,
) -> StaticQueryEncoder | None:
    """The table that encodes a model's queries.

    Args:
        name: of the model: built in, a folder or a hub id; or the folder of a table.
        query_encoder: one of :data:`NAMES`, or the folder of a table.
        config: of the model as it was loaded; by default as its files say.
        folder: of the model, where it was found already.
        revision: branch, tag or commit of a hub model.
        local_files_only: never ask a hub.

    Returns:
        the table, or ``None`` where the model itself encodes its queries.

    Raises:
        InputError: if there is no such model, or no table where one is asked for.
        IdentityError: if the table is that of another model.
    """
    if query_encoder == FULL:
        return None
    if query_encoder not in NAMES:
        return load_static(query_encoder, config)
    if is_static(Path(name)):
        return load_static(name, config)
    if name in BUILTIN_MODELS:
        # The table has the config with the hashes in it, which the settings that ship do not have.
        table, known = Path(str(files(__package__).joinpath("builtin", f"{name}-{STATIC}"))), settings(str(name))
        labels = shipped(str(name)).get("labels")
    else:
        if folder is None and not str(name).startswith(PREFIX):
            folder = locate_model(str(name), revision=revision, local_files_only=local_files_only)
        if folder is None or not (folder / CONFIG_FILE).is_file():
            if query_encoder == STATIC:
                raise _no_table(name)
            return None
        table, known = folder / STATIC, SplareConfig.load(folder)
        labels = folder / known.head / LABELS
        config = config or known
    if query_encoder == MODEL and known.query_encoder == FULL:
        return None
    if not is_static(table):
        raise _no_table(name)
    named = Path(str(labels)) if labels is not None and labels.is_file() else None
    return load_static(table, config, labels=named)


def _no_table(name: str | Path) -> InputError:
    return InputError(
        f"{name} has no static query encoder; train one with `splare train static`, or let the model encode queries "
        "itself (--query-encoder full)"
    )
