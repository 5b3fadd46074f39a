from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from splare_plugins.config import SplareConfig
from splare_plugins.errors import InputError
from splare_plugins.machine.files import file_sha256
from splare_plugins.model.splare import SplareModel
from splare_plugins.pooling.norms import scale_by_norm
from tests.tiny import TEXTS, tiny_model


def close(one: csr_array, other: csr_array) -> bool:
    return np.allclose(one.toarray(), other.toarray(), atol=1e-5)


def dense_definition(model: SplareModel, text: str) -> np.ndarray:
    """log1p(relu(W h + b)) at every token of the text itself, maximum over them, by transformers alone."""
    prompt = model.config.document.prompt
    inputs = model.backbone.tokenizer(prompt + text, return_tensors="pt", return_offsets_mapping=True)
    offsets = inputs.pop("offset_mapping")[0]
    with torch.inference_mode():
        states = model.backbone.model(**inputs).last_hidden_state[0]
        codes = torch.log1p(torch.relu(states @ model.head.W.T + model.head.b))
    return codes[offsets[:, 1] > len(prompt)].amax(0).numpy()


def test_vectors_are_the_definition(tiny):
    encoded = tiny.encode_documents(TEXTS, top_k=None).toarray()
    for row, text in zip(encoded, TEXTS, strict=True):
        np.testing.assert_allclose(row, dense_definition(tiny, text), atol=1e-5)


def test_rows_are_float32_sorted_and_without_zeros(tiny):
    encoded = tiny.encode_documents(TEXTS)
    assert encoded.dtype == np.float32
    assert encoded.shape == (len(TEXTS), tiny.config.width)
    assert encoded.has_sorted_indices
    assert (encoded.data > 0).all()


def test_top_k_keeps_the_largest(tiny):
    full, pruned = tiny.encode_documents(TEXTS, top_k=None).toarray(), tiny.encode_documents(TEXTS, top_k=7)
    assert (np.diff(pruned.indptr) == 7).all()
    for row, kept in zip(full, pruned.toarray(), strict=True):
        np.testing.assert_allclose(np.sort(kept)[-7:], np.sort(row)[-7:], atol=1e-6)


def test_the_models_own_top_k_differs_by_side(tiny):
    assert np.diff(tiny.encode_queries(TEXTS).indptr).max() == 20
    assert np.diff(tiny.encode_documents(TEXTS).indptr).max() == 60


def test_batch_order_mates_and_padding_do_not_change_a_vector(tiny):
    together = tiny.encode_documents(TEXTS)
    for tokens_per_batch in (1, 64, 100_000):
        assert close(tiny.encode_documents(TEXTS, tokens_per_batch=tokens_per_batch), together)
    assert close(tiny.encode_documents(TEXTS[::-1]), together[::-1])
    for row, text in enumerate(TEXTS):
        assert close(tiny.encode_documents([text]), together[[row]])


def test_empty_texts_and_no_texts(tiny):
    encoded = tiny.encode_queries(["", *TEXTS[:1], " "])
    assert np.diff(encoded.indptr)[0] == 0
    assert np.diff(encoded.indptr)[1] > 0
    assert tiny.encode_queries([]).shape == (0, tiny.config.width)


def test_a_stream_keeps_order_and_marks_what_was_cut(tiny):
    texts = [*TEXTS, "long " * 100]
    items = list(enumerate(texts))
    windows = list(tiny.stream_documents(iter(items), text=lambda item: item[1], window=4))
    assert [len(window.items) for window in windows] == [4, 2]
    assert [item for window in windows for item in window.items] == items
    assert [cut for window in windows for cut in window.truncated] == [False] * 5 + [True]
    whole = tiny.encode_documents(texts)
    assert close(windows[0].weights, whole[:4])
    assert close(windows[1].weights, whole[4:])


def test_progress_counts_every_text_while_a_window_is_encoded(tiny):
    seen: list[int] = []
    next(tiny.stream_documents(TEXTS, tokens_per_batch=1, on_progress=seen.append))
    assert seen == [1] * len(TEXTS)
    tiny.encode_queries(TEXTS, on_progress=seen.append)
    assert sum(seen) == 2 * len(TEXTS)


def test_a_stream_reads_no_further_than_its_window(tiny):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield "text"

    next(tiny.stream_documents(endless(), window=8))
    assert len(taken) == 8


def test_a_saved_model_gives_the_same_vectors(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "copy")
    loaded = SplareModel.from_pretrained(tmp_path / "copy", device="cpu")
    assert loaded.config == tiny.config
    assert close(loaded.encode_documents(TEXTS), tiny.encode_documents(TEXTS))


def test_per_token_topk_survives_saving(tmp_path):
    model = tiny_model(k=4)
    assert model.encode_documents(TEXTS, top_k=None).nnz < tiny_model().encode_documents(TEXTS, top_k=None).nnz
    model.save_pretrained(tmp_path)
    loaded = SplareModel.from_pretrained(tmp_path, device="cpu")
    assert close(loaded.encode_documents(TEXTS), model.encode_documents(TEXTS))


def test_outlier_tokens_leave_the_pool_but_not_the_input(tiny):
    config = dataclasses.replace(tiny.config, max_token_norm_ratio=0.999)
    filtered = SplareModel(config, tiny.backbone, tiny.head).encode_documents(TEXTS[:4], top_k=None).toarray()
    full = tiny.encode_documents(TEXTS[:4], top_k=None).toarray()
    assert (filtered <= full + 1e-6).all()
    assert (filtered < full - 1e-3).any(axis=1).all()


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_weights_are_divided_by_the_norm_of_all_of_them(tiny, power):
    config = dataclasses.replace(tiny.config, norm_power=power)
    scaled = SplareModel(config, tiny.backbone, tiny.head)
    full = tiny.encode_documents([*TEXTS, ""], top_k=None).toarray()
    norms = np.linalg.norm(full, axis=1, keepdims=True)
    expected = full / np.where(norms > 0, norms, 1) ** power
    np.testing.assert_allclose(scaled.encode_documents([*TEXTS, ""], top_k=None).toarray(), expected, rtol=1e-5)
    few, same = scaled.encode_queries(TEXTS, top_k=7), scaled.encode_queries(TEXTS, top_k=None).toarray()
    np.testing.assert_allclose(few.toarray(), np.where(few.toarray() > 0, same, 0), rtol=1e-5)


def test_a_row_without_weights_stays_empty_and_has_a_finite_gradient():
    weights = torch.tensor([[0.0, 0.0], [3.0, 4.0]], requires_grad=True)
    scaled = scale_by_norm(weights, 0.5)
    torch.testing.assert_close(scaled, torch.tensor([[0.0, 0.0], [3.0, 4.0]]) / torch.tensor([[1.0], [5.0**0.5]]))
    scaled.sum().backward()
    assert weights.grad.isfinite().all()


def test_cutting_at_a_layer_gives_that_layers_state(tiny, tmp_path):
    tiny.save_pretrained(tmp_path)
    dataclasses.replace(tiny.config, layer=0).save(tmp_path)
    cut = SplareModel.from_pretrained(tmp_path, device="cpu")
    tokens = cut.backbone.tokenize(TEXTS[:1], "", 128)
    with torch.inference_mode():
        states, _ = cut.backbone(tokens)
        full = tiny.backbone.model(
            input_ids=torch.from_numpy(tokens[0].ids)[None], output_hidden_states=True
        ).hidden_states[1][0]
    torch.testing.assert_close(states, full)
    assert len(cut.backbone.model.encoder.layer) == 1


def test_an_adapter_is_merged_and_travels_with_the_model(tiny, tmp_path):
    from peft import LoraConfig, get_peft_model

    tiny.save_pretrained(tmp_path / "a")
    base = SplareModel.from_pretrained(tmp_path / "a", device="cpu")
    wrapped = get_peft_model(
        base.backbone.model, LoraConfig(target_modules=["query", "value"], init_lora_weights=False)
    )
    wrapped.save_pretrained(tmp_path / "a" / "adapter")
    sha256 = file_sha256(tmp_path / "a" / "adapter" / "adapter_model.safetensors")
    dataclasses.replace(tiny.config, adapter="adapter", adapter_sha256=sha256).save(tmp_path / "a")
    adapted = SplareModel.from_pretrained(tmp_path / "a", device="cpu")
    assert not close(adapted.encode_documents(TEXTS), tiny.encode_documents(TEXTS))
    adapted.save_pretrained(tmp_path / "b")
    again = SplareModel.from_pretrained(tmp_path / "b", device="cpu")
    assert close(again.encode_documents(TEXTS), adapted.encode_documents(TEXTS))
    assert adapted.config.fingerprint() != tiny.config.fingerprint()
    dataclasses.replace(adapted.config, adapter_sha256="0" * 64).save(tmp_path / "b")
    with pytest.raises(InputError, match="does not have the hash"):
        SplareModel.from_pretrained(tmp_path / "b", device="cpu")
    (tmp_path / "b" / "adapter" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no adapter_model\.safetensors"):
        SplareModel.from_pretrained(tmp_path / "b", device="cpu")


@pytest.mark.parametrize("name", ["no-such-folder", "./nowhere/at/all"])
def test_missing_models_are_one_sentence(name):
    with pytest.raises(InputError, match="no model folder"):
        SplareModel.from_pretrained(name)


@pytest.mark.parametrize("options", [{"device": "nowhere"}, {"device": "cuda:99"}, {"dtype": "float99"}])
def test_devices_and_dtypes_that_are_not_there_are_one_sentence(tiny_folder, options):
    with pytest.raises(InputError, match=r"cannot be used here|no dtype"):
        SplareModel.from_pretrained(tiny_folder, **options)


def test_a_folder_without_a_config_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no splare_config\.json"):
        SplareModel.from_pretrained(tmp_path)


def test_a_head_of_another_width_is_refused(tiny):
    with pytest.raises(InputError, match="512"):
        SplareModel(dataclasses.replace(tiny.config, width=9), tiny.backbone, tiny.head)


def test_wrong_calls_are_refused(tiny):
    with pytest.raises(InputError, match="list of texts"):
        tiny.encode_queries("one string")
    with pytest.raises(InputError, match="top_k"):
        tiny.encode_queries(["a"], top_k=0)
    with pytest.raises(InputError, match="text 1 has a lone surrogate at character 2"):
        tiny.encode_queries(["a", "ab\ud800"])


def test_an_uncalibrated_model_says_what_to_do(tiny):
    config = dataclasses.replace(tiny.config, query=dataclasses.replace(tiny.config.query, scale=None))
    with pytest.raises(InputError, match="calibrate"):
        _ = SplareModel(config, tiny.backbone, tiny.head).quantizer


def test_the_config_round_trips(tiny, tmp_path):
    tiny.config.save(tmp_path)
    assert SplareConfig.load(tmp_path) == tiny.config
