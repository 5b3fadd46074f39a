"""What cannot be imported is refused in one sentence that names it, and nothing is left behind."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

from splare_plugins.errors import InputError
from splare_plugins.heads.importers import Hints, import_sae
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER, D, M

PER_TOKEN = {"hook_name": f"blocks.{LAYER}.hook_resid_post"}
UNSUPPORTED = {
    "llama transcoder": (lambda r: replicas.llama_scope(r, hook_point_out="blocks.6.hook_mlp_out"), "transcoder"),
    "llama mlp": (
        lambda r: replicas.llama_scope(r, hook_point_in="blocks.6.hook_mlp_out", hook_point_out=None),
        "MLP output",
    ),
    "llama attention": (
        lambda r: replicas.llama_scope(r, hook_point_in="blocks.6.hook_attn_out", hook_point_out=None),
        "attention output",
    ),
    "llama glu": (lambda r: replicas.llama_scope(r, use_glu_encoder=True), "gated"),
    "llama token-wise": (lambda r: replicas.llama_scope(r, norm_activation="token-wise"), "token-wise"),
    "llama activation": (lambda r: replicas.llama_scope(r, act_fn="gelu"), "gelu"),
    "llama no norm": (lambda r: replicas.llama_scope(r, dataset_average_activation_norm=None), "--input-norm"),
    "llama width": (lambda r: replicas.llama_scope(r, d_sae=64), "width 64"),
    "llama d_model": (lambda r: replicas.llama_scope(r, d_model=64), "d_model 64"),
    "gemma width": (lambda r: replicas.gemma_scope(r, width="width_16k"), "width 16000"),
    "gemma 2 transcoder": (lambda r: replicas.gemma_scope_2(r, type="transcoder"), "transcoder"),
    "gemma 2 affine": (lambda r: replicas.gemma_scope_2(r, affine_connection=True), "transcoder"),
    "gemma 2 attention": (
        lambda r: replicas.gemma_scope_2(
            r, hf_hook_point_in="model.layers.6.self_attn.o_proj.input", hf_hook_point_out=None
        ),
        "attention",
    ),
    "saelens gated": (lambda r: replicas.saelens(r, architecture="gated"), "gated"),
    "saelens transcoder": (lambda r: replicas.saelens(r, architecture="transcoder"), "transcoder"),
    "saelens hook_z": (
        lambda r: replicas.saelens(r, metadata={"hook_name": "blocks.6.attn.hook_z"}),
        "hook_z",
    ),
    "saelens reshape": (lambda r: replicas.saelens(r, reshape_activations="hook_z"), "hook_z"),
    "saelens rescale": (lambda r: replicas.saelens(r, normalize_activations="constant_norm_rescale"), "each token"),
    "saelens layer norm": (lambda r: replicas.saelens(r, normalize_activations="layer_norm"), "each token"),
    "saelens whitened": (lambda r: replicas.saelens(r, normalize_activations="covariance_whitening"), "whitens"),
    "saelens averaged": (
        lambda r: replicas.saelens(r, normalize_activations="expected_average_only_in"),
        "add --input-norm with .* or --input-norm 4 where the scale is in the weights already",
    ),
    "saelens averaged, first versions": (lambda r: replicas.saelens(r, normalize_activations=True), "--input-norm"),
    "saelens another model": (
        lambda r: replicas.saelens(r, model_from_pretrained_kwargs={"fold_everything": True}),
        "fold_everything=True",
    ),
    "saelens first layer": (
        lambda r: replicas.saelens(r, metadata={"hook_name": "blocks.0.hook_resid_pre"}),
        "blocks.0.hook_resid_pre",
    ),
    "saelens factor": (
        lambda r: replicas.saelens(
            r, more={"finetuning_scaling_factor": -torch.ones(M)}, finetuning_scaling_factor=True
        ),
        "not positive",
    ),
    "sparsify transcoder": (lambda r: replicas.sparsify(r, transcode=True), "transcoder"),
    "sparsify groupmax": (lambda r: replicas.sparsify(r, activation="groupmax"), "groupmax"),
    "sparsify signed": (lambda r: replicas.sparsify(r, signed=True), "signed"),
    "dictionary gated": (lambda r: replicas.dictionary_learning(r, "GatedAutoEncoder"), "GatedAutoEncoder"),
    "dictionary mlp": (
        lambda r: replicas.dictionary_learning(r, "AutoEncoder", submodule_name="mlp_layer_6"),
        "MLP output",
    ),
    "llamascopium lorsa": (lambda r: replicas.llamascopium(r, native=True, sae_type="lorsa"), "lorsa"),
    "llamascopium norm": (lambda r: replicas.llamascopium(r, native=False, stored_norm=False), "--input-norm"),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_what_does_not_fold_is_refused(case, tmp_path):
    make, words = UNSUPPORTED[case]
    replica = make(tmp_path / "published")
    with pytest.raises(InputError, match=words) as refusal:
        import_sae(str(replica.folder), output=tmp_path / "head")
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == ["published"]


@pytest.mark.parametrize("place", ["gemma-scope-2b-pt-att", "gemma-scope-9b-pt-mlp", "gemma-scope-2b-pt-transcoders"])
def test_other_places_of_gemma_scope_are_refused(place, tmp_path):
    folder = replicas.gemma_scope(tmp_path).folder
    other = tmp_path / place
    (tmp_path / "gemma-scope-2b-pt-res").rename(other)
    with pytest.raises(InputError, match="-res"):
        import_sae(str(other / folder.relative_to(tmp_path / "gemma-scope-2b-pt-res")), output=tmp_path / "head")


REPLICAS = {
    "llama-scope": replicas.llama_scope,
    "gemma-scope": replicas.gemma_scope,
    "gemma-scope-2": replicas.gemma_scope_2,
    "goodfire": lambda root: replicas.goodfire(root, "Goodfire", "pth"),
    "qwen-scope": replicas.qwen_scope,
    "saelens": replicas.saelens,
    "sparsify": replicas.sparsify,
    "dictionary-learning": lambda root: replicas.dictionary_learning(root, "BatchTopKSAE"),
    "llamascopium": lambda root: replicas.llamascopium(root, native=True),
}
WEIGHTS = (".safetensors", ".npz", ".pt", ".pth")


@pytest.mark.parametrize("kept", [0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("suite", REPLICAS)
def test_half_a_file_is_refused(suite, kept, tmp_path):
    replica = REPLICAS[suite](tmp_path / "published")
    (weights,) = [path for path in replica.folder.rglob("*") if path.suffix in WEIGHTS]
    data = weights.read_bytes()
    weights.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(InputError, match="damaged or cut off"):
        import_sae(str(replica.folder), output=tmp_path / "head")
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize("name", ["encoder.weight", "encoder.bias", "decoder.weight"])
def test_a_missing_tensor_is_named(name, tmp_path):
    E, e, decoder, b_dec, _ = replicas.weights()
    tensors = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder, "decoder.bias": b_dec}
    del tensors[name]
    with pytest.raises(InputError, match=f"no tensor '{name}'"):
        import_sae(str(replicas.llama_scope(tmp_path, tensors=tensors).folder), output=tmp_path / "head")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("encoder.weight", torch.full((M, D), torch.nan), "NaN"),
        ("encoder.bias", torch.full((M,), torch.inf), "NaN or infinite"),
        ("encoder.bias", torch.zeros(M + 1), "shape"),
        ("decoder.weight", torch.zeros(D, M - 1), "48 latents"),
        ("encoder.weight", torch.zeros(M), "must be a matrix"),
    ],
)
def test_impossible_weights_are_refused(name, value, words, tmp_path):
    E, e, decoder, b_dec, _ = replicas.weights()
    tensors = {"encoder.weight": E, "encoder.bias": e, "decoder.weight": decoder, "decoder.bias": b_dec, name: value}
    with pytest.raises(InputError, match=words):
        import_sae(str(replicas.llama_scope(tmp_path, tensors=tensors).folder), output=tmp_path / "head")


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = replicas.qwen_scope(tmp_path).folder
    torch.save({"W_enc": Evil()}, folder / f"layer{LAYER}.sae.pt")
    with pytest.raises(InputError, match="never run"):
        import_sae(str(folder), output=tmp_path / "head")
    (folder / f"layer{LAYER}.sae.pt").write_bytes(pickle.dumps(Evil(), protocol=2))
    with pytest.raises(InputError):
        import_sae(str(folder), output=tmp_path / "head")
    assert not (tmp_path / "ran").exists()


def test_objects_in_an_archive_are_not_unpickled(tmp_path):
    folder = replicas.gemma_scope(tmp_path).folder
    content = io.BytesIO()
    np.savez(content, W_enc=np.array([{}], dtype=object))
    (folder / "params.npz").write_bytes(content.getvalue())
    with pytest.raises(InputError, match="object"):
        import_sae(str(folder), output=tmp_path / "head")


def test_an_sae_of_another_size_than_the_backbone_is_refused(tmp_path):
    folder = replicas.sparsify(tmp_path).folder
    with pytest.raises(InputError, match="states of size 16, but the backbone's have size 32"):
        import_sae(str(folder), output=tmp_path / "head", d_model=32)
    assert import_sae(str(folder), output=tmp_path / "head", d_model=D)


def test_unknown_suites_folders_and_layers_are_refused(tmp_path):
    folder = replicas.qwen_scope(tmp_path).folder
    for options, words in (
        ({"suite": "magic"}, "no suite 'magic'"),
        ({"suite": "saelens"}, "cfg.json"),
        ({"hints": Hints(layer=9)}, "layer 9 is not among them"),
    ):
        with pytest.raises(InputError, match=words):
            import_sae(str(folder), output=tmp_path / "head", **options)
    with pytest.raises(InputError, match="no folder"):
        import_sae(str(tmp_path / "nowhere"), output=tmp_path / "head")
    with pytest.raises(InputError, match="not an SAE of"):
        import_sae(str(tmp_path), output=tmp_path / "head")
    with pytest.raises(InputError, match="not a file of a known SAE format"):
        (tmp_path / "notes.txt").write_text("x")
        import_sae(str(tmp_path / "notes.txt"), output=tmp_path / "head")


def test_what_no_name_says_is_asked_for(tmp_path):
    folder = replicas.qwen_scope(tmp_path).folder.rename(tmp_path / "plain")
    with pytest.raises(InputError, match="--k"):
        import_sae(str(folder), output=tmp_path / "head")
    assert import_sae(str(folder), output=tmp_path / "head", hints=Hints(k=4))
    gemma = replicas.gemma_scope(tmp_path).folder.rename(tmp_path / "gemma")
    # Files of an MLP's SAE or of a transcoder are the same to look at.
    with pytest.raises(InputError, match=r"ends in -res, add --suite gemma-scope$"):
        import_sae(str(gemma), output=tmp_path / "other", hints=Hints(layer=3))
    with pytest.raises(InputError, match="--layer"):
        import_sae(str(gemma), output=tmp_path / "other", suite="gemma-scope")
    assert import_sae(str(gemma), output=tmp_path / "other", suite="gemma-scope", hints=Hints(layer=3))


@pytest.mark.parametrize(("text", "words"), [("{", "not valid JSON"), ("[]", "must hold a JSON object")])
def test_broken_configs_are_refused(text, words, tmp_path):
    folder = replicas.saelens(tmp_path).folder
    (folder / "cfg.json").write_text(text)
    with pytest.raises(InputError, match=words):
        import_sae(str(folder), output=tmp_path / "head")
