"""Which model made a frame of queries or documents, so that an index can refuse those of another.

Encoders sign the frames that they return in ``DataFrame.attrs``, which pandas carries along through ``assign``,
``merge``, ``concat`` and selections. A frame without a signature (a stream of records, a file, another encoder) is
accepted as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from splare_plugins.config import SplareConfig
from splare_plugins.errors import IdentityError, InputError

if TYPE_CHECKING:
    import pandas as pd

SIGNATURE = "splare_model"


def sign(frame: pd.DataFrame, config: SplareConfig) -> pd.DataFrame:
    """Note in ``frame`` which model made its impacts; returns ``frame``."""
    frame.attrs[SIGNATURE] = {"name": config.describe(), "fingerprint": config.index_fingerprint()}
    return frame


def require_same_model(
    frame: pd.DataFrame,
    config: SplareConfig | None,
    what: str,
    way_out: str = "use that model, or encode and index again with this one",
) -> None:
    """Refuse a frame that another model signed.

    Args:
        frame: queries, documents or results.
        config: the model that is expected; without one, anything is accepted.
        what: what expects it, for the message.
        way_out: what to do, for the message.

    Raises:
        IdentityError: naming both models.
    """
    signature = frame.attrs.get(SIGNATURE)
    if signature and config is not None and signature["fingerprint"] != config.index_fingerprint():
        raise IdentityError(
            f"{what} was made with {config.describe()}, but these impacts come from {signature['name']}; {way_out}"
        )


def config_of(model: Any) -> SplareConfig | None:
    """The configuration of what a user may call a model.

    Args:
        model: a ``Splare``, a ``SplareModel``, a ``SplareConfig``, the name or folder of a model, or ``None``. No
            weights are loaded.

    Raises:
        InputError: if it is none of these, or there is no such model.
    """
    if model is None or isinstance(model, SplareConfig):
        return model
    if isinstance(model, str | Path):
        from splare_plugins.model.describe import describe_model

        return describe_model(model).config
    config = getattr(model, "config", None)
    if not isinstance(config, SplareConfig):
        raise InputError(f"{model!r} is not a SPLARE model; give a Splare, a SplareModel, or a model's name or folder")
    return config
