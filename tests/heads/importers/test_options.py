"""Every option of an import is used, or an error; what a folder's name must say is read or asked for."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from splare_plugins.errors import InputError
from splare_plugins.heads import SparseAutoencoder
from splare_plugins.heads.importers import Hints, import_sae
from tests.heads.importers import replicas
from tests.heads.importers.replicas import LAYER, D, K, M
from tests.heads.importers.test_formulas import CASES, activations

TOPK = (
    "qwen-scope",
    "saelens, topk",
    "saelens, before 6.0",
    "sparsify",
    "dictionary-learning, AutoEncoderTopK",
    "llamascopium, topk",
)
SCALED = {"llama-scope": 7.0, "llamascopium, native": 7.0, "saelens, checkpoint": D**0.5 / 0.37}


@pytest.mark.parametrize("case", CASES)
def test_an_option_that_the_files_contradict_or_do_not_have_is_an_error(case, tmp_path):
    source = str(CASES[case](tmp_path / "published").folder)
    topk, scaled = case in (*TOPK, "llama-scope, topk"), "llama" in case or case in SCALED
    for hints, words in (
        (Hints(layer=LAYER + 1), "say 6, and --layer says 7|layer 7 is not among them"),
        (Hints(k=K + 1), "--k says 6" if topk else "has no use for --k 6: it does not have a fixed number of latents"),
        (Hints(input_norm=3.0), "--input-norm says 3.0" if scaled else "has no use for --input-norm 3.0"),
    ):
        with pytest.raises(InputError, match=words):
            import_sae(source, output=tmp_path / "head", hints=hints)
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize("case", CASES)
def test_an_option_that_the_files_confirm_is_fine(case, tmp_path):
    source = str(CASES[case](tmp_path / "published").folder)
    hints = Hints(layer=LAYER, k=K if case in TOPK else None, input_norm=SCALED.get(case))
    assert import_sae(source, output=tmp_path / "head", hints=hints)


def test_a_file_of_one_layer_is_not_read_for_another(tmp_path):
    folder = replicas.qwen_scope(tmp_path).folder
    shutil.copy(folder / f"layer{LAYER}.sae.pt", folder / "layer9.sae.pt")
    with pytest.raises(InputError, match=r"the file of layer 6, and --layer says 9; omit it"):
        import_sae(str(folder / f"layer{LAYER}.sae.pt"), output=tmp_path / "head", hints=Hints(layer=9))


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (lambda root: replicas.sparsify(root, k=None), "cfg.json"),
        (lambda root: replicas.saelens(root, architecture="topk"), "cfg.json"),
        (lambda root: replicas.llamascopium(root, native=True, act_fn="topk", top_k=None), "config.json"),
    ],
)
def test_a_k_that_the_files_leave_out_comes_from_the_option(make, file, tmp_path):
    source = str(make(tmp_path / "published").folder)
    with pytest.raises(InputError, match="add --k"):
        import_sae(source, output=tmp_path / "head")
    assert SparseAutoencoder.load(import_sae(source, output=tmp_path / "head", hints=Hints(k=4))).k == 4


def test_a_layer_that_the_files_leave_out_comes_from_the_option(tmp_path):
    source = str(replicas.saelens(tmp_path / "published", metadata={}).folder)
    with pytest.raises(InputError, match="add --layer"):
        import_sae(source, output=tmp_path / "head")
    assert (
        SparseAutoencoder.load(import_sae(source, output=tmp_path / "head", hints=Hints(layer=4))).card["layer"] == 4
    )


def test_the_norm_of_a_scaled_training_comes_from_the_option(tmp_path):
    replica = replicas.saelens_checkpoint(tmp_path / "published")
    (replica.folder / "activation_scaler.json").unlink()
    states = torch.randn(50, D)
    for name, norm, forward in (
        ("scaled", D**0.5 / 0.37, replica.forward),
        ("folded", D**0.5, lambda x: replica.forward(x / 0.37)),
    ):
        head = import_sae(str(replica.folder), output=tmp_path / name, hints=Hints(input_norm=norm))
        found = activations(SparseAutoencoder.load(head), states)
        torch.testing.assert_close(found, forward(states), rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match=r"must be above 0, not 0\.0; correct --input-norm"):
        import_sae(str(replica.folder), output=tmp_path / "zero", hints=Hints(input_norm=0.0))


def test_the_checkpoint_of_a_model_is_told(tmp_path, caplog):
    kwargs = {"checkpoint_index": 0}
    import_sae(str(replicas.saelens(tmp_path, model_from_pretrained_kwargs=kwargs).folder), output=tmp_path / "head")
    assert "checkpoint_index=0" in caplog.text
    assert "--revision" in caplog.text


def test_a_release_that_only_saelens_knows_to_be_centred(tmp_path):
    folder = replicas.saelens(tmp_path / "x").folder
    place = tmp_path / "jbloom" / "GPT2-Small-SAEs-Reformatted" / "blocks.6.hook_resid_pre"
    shutil.copytree(folder, place)
    heads = [
        SparseAutoencoder.load(import_sae(str(source), output=tmp_path / name))
        for source, name in ((folder, "plain"), (place, "centred"))
    ]
    assert heads[1].W.mean(dim=1).abs().max() < 1e-6 < heads[0].W.mean(dim=1).abs().max()


def test_a_folder_of_gemma_scope_2_without_its_config_is_read_by_its_name(tmp_path):
    replica = replicas.gemma_scope_2(tmp_path / "gemma-scope-2-1b-pt")
    (replica.folder / "config.json").unlink()
    named = replica.folder.with_name(f"layer_{LAYER}_width_{M}_l0_small")
    replica.folder.rename(named)
    head = SparseAutoencoder.load(import_sae(str(named), output=tmp_path / "head"))
    states = torch.randn(50, D)
    torch.testing.assert_close(activations(head, states), replica.forward(states), rtol=1e-5, atol=1e-5)
    assert (head.card["layer"], head.card["base_model"]) == (LAYER, "google/gemma-3-1b-pt")
    wide = named.rename(named.with_name(f"layer_{LAYER}_width_65k_l0_small"))
    with pytest.raises(InputError, match="width 65000"):
        import_sae(str(wide), output=tmp_path / "other")
    for place in ("mlp_out", "transcoder", "attn_out_all"):
        other = tmp_path / place / wide.name
        shutil.copytree(wide, other)
        with pytest.raises(InputError, match=r"has no config\.json, and its name is not like"):
            import_sae(str(other), output=tmp_path / "other")


def test_a_pickle_that_is_not_a_state_dict_is_refused(tmp_path):
    folder = replicas.goodfire(tmp_path, "Goodfire", "pth").folder
    (path,) = folder.iterdir()
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(InputError, match="code inside a pickle is never run; save its state dict again"):
        import_sae(str(folder), output=tmp_path / "head")
    torch.save({"encoder.weight": torch.ones(2, 2)}, path)
    with pytest.raises(InputError, match=r"no tensor 'encoder_linear\.weight', only encoder\.weight"):
        import_sae(str(folder), output=tmp_path / "head")


def test_the_card_remembers_what_was_said(tmp_path):
    source = str(replicas.llamascopium(tmp_path / "published", native=False, stored_norm=False).folder)
    head = import_sae(source, output=tmp_path / "head", hints=Hints(input_norm=7.0))
    card = json.loads((head / "head.json").read_text())
    assert (card["options"], card["input_norm"]) == ({"input_norm": 7.0}, 7.0)
