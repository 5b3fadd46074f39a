"""What is published: the public suites an importer exists for, with sizes and licences."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """Public SAEs of one backbone.

    Attributes:
        suite: name in the table of suites.
        backbone: hub id of the model they were trained on.
        source: one of them, as ``splare sae import`` takes it.
        layers: which layers have one.
        d_model: size of the states.
        width: latents of that one.
        bytes_each: of a number in the converted encoder.
        activation: of that one.
        licence: of the SAEs; the backbone has its own.
        backbone_licence: as the backbone's hub page tags it.
        gated: whether the backbone asks for an agreement.
        others: what else the repositories hold.
        l0: active latents a token of that one, as its authors give them.
        options: what the import needs besides, since the files do not say it.
    """

    suite: str
    backbone: str
    source: str
    layers: str
    d_model: int
    width: int
    bytes_each: int
    activation: str
    licence: str
    backbone_licence: str
    gated: bool
    others: str
    l0: str
    options: str = ""

    @property
    def command(self) -> str:
        """The import of that one, to be pasted."""
        return " ".join(filter(None, ["splare sae import", self.source, self.options, "-o FOLDER"]))

    @property
    def size(self) -> int:
        """Bytes of the converted head: ``W`` in the published precision, ``b`` and ``theta`` in float32."""
        return self.width * (self.d_model * self.bytes_each + 8)


PUBLISHED = (
    Published(
        "llama-scope",
        "meta-llama/Llama-3.1-8B",
        "hf:fnlp/Llama3_1-8B-Base-LXR-32x#L26R",
        "0-31",
        4096,
        131_072,
        2,
        "jumprelu",
        "apache-2.0",
        "llama3.1",
        True,
        "8x: 32,768",
        "50",
    ),
    Published(
        "gemma-scope",
        "google/gemma-2-2b",
        "hf:google/gemma-scope-2b-pt-res/layer_6/width_65k/average_l0_107",
        "0-25",
        2304,
        65_536,
        4,
        "jumprelu",
        "cc-by-4.0",
        "gemma",
        True,
        "16k to 1m; 9b, 9b-it, 27b",
        "107",
    ),
    Published(
        "gemma-scope-2",
        "google/gemma-3-270m",
        "hf:google/gemma-scope-2-270m-pt/resid_post_all/layer_9_width_16k_l0_small",
        "0-17",
        640,
        16_384,
        4,
        "jumprelu",
        "cc-by-4.0",
        "gemma",
        True,
        "16k to 1m; 1b, 4b, 12b, 27b; pt and it",
        "small",
    ),
    Published(
        "qwen-scope",
        "Qwen/Qwen3-1.7B-Base",
        "hf:Qwen/SAE-Res-Qwen3-1.7B-Base-W32K-L0_50#layer20",
        "0-27",
        2048,
        32_768,
        4,
        "topk",
        "other (qwen): read the card",
        "apache-2.0",
        False,
        "L0 100; Qwen3-8B-Base 64k; Qwen3.5",
        "50",
    ),
    Published(
        "llamascopium",
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        "hf:fnlp/Llama-Scope-R1-Distill/400M-Slimpajama-400M-OpenR1-Math-220k/L15R",
        "0-31",
        4096,
        32_768,
        4,
        "jumprelu",
        "apache-2.0",
        "mit",
        False,
        "two other mixes of training text, not for every layer",
        "50",
        "--input-norm NORM",
    ),
)
GENERIC = {
    "saelens": "any folder with cfg.json and sae_weights.safetensors",
    "sparsify": "any folder with cfg.json and sae.safetensors, like layers.10",
    "dictionary-learning": "any folder with config.json and ae.pt",
    "goodfire": "any folder with a file like Llama-3.1-8B-Instruct-SAE-l19.pth",
    "qresearch": "any folder with a file like Llama-3.2-1B-Instruct-SAE-l9.pt",
    "llamascopium": "any folder with config.json and sae_weights.safetensors",
}
