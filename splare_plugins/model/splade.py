"""SPLADE models as SPLARE models: a transformers folder with a language-model head, taken apart when it is loaded.

The backbone is the same model without its head, and the head's vocabulary takes the place of the latents; pooling,
activation, top-k and quantiser are the ones that an SAE has. Plain transformers folders and the folders of
sentence-transformers' sparse encoders are recognised.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError

from splare_plugins.backbone.source import Source, weights_of
from splare_plugins.config import CONFIG_FILE, SIDES, SideConfig, SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256, read_json, read_json_list
from splare_plugins.machine.packages import require_torch
from splare_plugins.model.card import read_header

if TYPE_CHECKING:
    from splare_plugins.heads.lm import LanguageModelHead

DEFAULT_MAX_LENGTH = 512
_CLASSES = {"ForMaskedLM": "AutoModelForMaskedLM", "ForCausalLM": "AutoModelForCausalLM"}
_COPIED = ("*.json", "*.txt", "*.model", "*.jinja", "*.safetensors")


class SpladeFolder(NamedTuple):
    """Where the parts of a SPLADE-shaped folder lie and what it says about itself."""

    transformer: Path
    """The folder of the transformers model."""
    settings: dict[str, Any]
    """Its ``config.json``."""
    max_length: int | None
    """What sentence-transformers would cut at."""
    prompts: dict[str, str]
    """By ``"query"`` and ``"document"``."""

    @property
    def kind(self) -> str:
        """``"ForMaskedLM"``, ``"ForCausalLM"``, or empty for another class."""
        names = self.settings.get("architectures") or []
        return next((kind for kind in _CLASSES for name in names if str(name).endswith(kind)), "")


def recognise_splade(folder: Path) -> SpladeFolder | None:
    """Read a folder as a SPLADE model; ``None`` for a SPLARE model or a folder of another kind.

    Raises:
        InputError: for a sparse encoder of sentence-transformers that is not SPLADE's max over log1p(relu(logits)).
    """
    if (folder / CONFIG_FILE).is_file():
        return None
    transformer, max_length = folder, None
    prompts: dict[str, str] = {}
    if (folder / "modules.json").is_file():
        transformer = _first_module(folder, read_json_list(folder / "modules.json"))
        about = _settings(transformer / "sentence_bert_config.json")
        if about.get("do_lower_case"):
            raise InputError(
                f"{folder} lowercases texts outside its tokenizer (do_lower_case), which is not supported"
            )
        max_length = about.get("max_seq_length")
        prompts = _settings(folder / "config_sentence_transformers.json").get("prompts") or {}
    found = SpladeFolder(transformer, _settings(transformer / "config.json"), max_length, prompts)
    return found if found.kind else None


def convert_splade(
    found: SpladeFolder, name: str, revision: str | None = None
) -> tuple[SplareConfig, LanguageModelHead]:
    """The config and the head of a SPLADE model; its backbone loads from ``found.transformer`` as any other.

    Args:
        found: what :func:`recognise_splade` returned.
        name: for the config.
        revision: commit of a hub model; the weights' hash where there is none.

    Returns:
        config, without quantiser scales; and head, on the CPU in the dtype of the file.

    Raises:
        InputError: if the model cannot be read, has only pickled weights, or computes its logits in an unknown way.
    """
    require_torch(name)
    import transformers

    from splare_plugins.heads.from_transformers import head_of
    from splare_plugins.heads.record import tensors_sha256

    if (family := found.settings.get("model_type")) not in transformers.CONFIG_MAPPING:
        raise InputError(
            f"{name} is a model of type {family!r}, which transformers does not know; code that comes with a model "
            "is never run"
        )
    weights = weights_of(Source(str(found.transformer), {}))
    try:
        settings = transformers.AutoConfig.from_pretrained(found.transformer, trust_remote_code=False)
        model, loading = getattr(transformers, _CLASSES[found.kind]).from_pretrained(
            found.transformer, dtype="auto", use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(found.transformer, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise InputError(
            f"cannot load the SPLADE model {name} ({found.transformer}): {' '.join(str(error).split())}"
        ) from error
    if missing := sorted(loading["missing_keys"]):  # transformers would go on with random numbers
        raise InputError(f"the SPLADE model {name} lacks {missing[0]} and {len(missing) - 1} more; fetch it again")
    licence = read_header(found.transformer / "README.md").get("license")
    about = {"source": name, "architecture": type(model).__name__, "licence": licence}
    head = head_of(model.eval(), tokenizer, about)
    backbone_sha256 = file_sha256(*weights)
    positions = getattr(settings.get_text_config(), "max_position_embeddings", DEFAULT_MAX_LENGTH)
    limit = found.max_length or min(DEFAULT_MAX_LENGTH, tokenizer.model_max_length, positions)
    query, document = (SideConfig(prompt=found.prompts.get(side) or "", max_length=limit) for side in SIDES)
    config = SplareConfig(
        name=name,
        revision=revision or backbone_sha256[:12],
        backbone=".",
        backbone_sha256=backbone_sha256,
        final_norm=True,
        bidirectional=found.kind == "ForMaskedLM" or _says_bidirectional(found.settings),
        head_kind=head.kind,
        head_sha256=tensors_sha256(head.tensors()),  # what saving will give: one identity before and after
        width=head.width,
        pool_all_tokens=True,
        query=query,
        document=document,
    )
    return config, head


def convert_named(
    found: SpladeFolder, name_or_path: str | Path, folder: Path
) -> tuple[SplareConfig, LanguageModelHead]:
    """:func:`convert_splade` of what was asked for by name and found in ``folder``."""
    # A hub's snapshot is named by its commit, a folder by itself.
    hub = not Path(name_or_path).is_dir()
    name, commit = (str(name_or_path), folder.name) if hub else (folder.resolve().name, None)
    return convert_splade(found, name, commit)


def save_splade(found: SpladeFolder, folder: Path, config: SplareConfig) -> SplareConfig:
    """Write the parts of a SPLADE model as those of a SPLARE model: its own files, and the head apart.

    The head is taken from the files again, since the one in memory may have been rounded to another dtype.

    Returns:
        ``config`` with the place of the backbone, for the caller to save.
    """
    backbone, head = folder / "backbone", folder / config.head
    for part in (backbone, head):
        part.mkdir(parents=True, exist_ok=True)
    for pattern in _COPIED:
        for file in found.transformer.glob(pattern):
            shutil.copy2(file, backbone / file.name)
    convert_splade(found, config.name)[1].save(head)
    return dataclasses.replace(config, backbone="backbone")


def _first_module(folder: Path, modules: list[dict[str, Any]]) -> Path:
    """The folder of module 0, if the modules are a transformer and SPLADE's pooling."""
    types = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    if len(types) != 2 or types[0] not in ("MLMTransformer", "Transformer") or types[1] != "SpladePooling":
        raise InputError(
            f"{folder} is a sentence-transformers model of {' + '.join(types)}; only MLMTransformer + SpladePooling "
            f"can be loaded here; other sparse encoders are named st:{folder}"
        )
    pooling = _settings(folder / str(modules[1].get("path", "")) / "config.json")
    how = pooling.get("pooling_strategy", "max"), pooling.get("activation_function", "relu")
    if how != ("max", "relu"):
        raise InputError(
            f"{folder} pools with {how[0]} over {how[1]}; only SPLADE's max over relu can be loaded here; name it "
            f"st:{folder}"
        )
    return folder / str(modules[0].get("path", ""))


def _says_bidirectional(settings: dict[str, Any]) -> bool:
    """Whether a decoder's config says so; read from the file, since transformers drops ``is_causal`` on loading."""
    return settings.get("is_causal") is False or settings.get("use_bidirectional_attention") is True


def _settings(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    return read_json(path) if path.is_file() else {}
