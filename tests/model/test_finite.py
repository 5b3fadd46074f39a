"""A state that is not finite is an error that names its text, never a document without latents."""

from __future__ import annotations

import pytest
import torch

from splare_plugins.backbone.finite import not_finite
from splare_plugins.errors import SplareError
from splare_plugins.model.dense import dense_vectors
from splare_plugins.pooling import activate
from splare_plugins.st import SplareEncoder
from tests.tiny import TEXTS, tiny_model

BAD = "an otherwise ordinary text ~ with a bad token"


def spoiled(value: float = torch.nan, **options: int):
    """A model whose token "~" has a state that is not finite; texts without it are as they were."""
    model = tiny_model(**options)
    (tokens,) = model.backbone.tokenize(["~"], "", 8)
    table = model.backbone.model.get_input_embeddings()
    with torch.no_grad():
        table.weight[int(tokens.ids[1])] = value
    return model


@pytest.mark.parametrize("k", [None, 8])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("ratio", [None, 1.2])
def test_the_text_is_named_and_the_others_are_not_touched(k, value, ratio):
    model, sound = spoiled(value, k=k), tiny_model(k=k)
    for each in (model, sound):
        each.config.__dict__["max_token_norm_ratio"] = ratio
    assert abs(model.encode_documents(TEXTS) - sound.encode_documents(TEXTS)).max() == 0
    for encode in (model.encode_documents, model.encode_queries):
        with pytest.raises(
            SplareError, match=r"text 2 \('an otherwise .*float32, so a weight of the model is damaged"
        ):
            encode([*TEXTS[:2], BAD, *TEXTS[2:]])
    with pytest.raises(SplareError, match=r"text 1 "):
        list(model.stream_documents(["a", BAD]))


def test_calibration_and_dense_vectors_are_refused_too():
    model = spoiled()
    with pytest.raises(SplareError, match=r"text 0 .*not finite"):
        model.calibrate(TEXTS, [BAD])
    model.config.__dict__["layer"] = None
    with pytest.raises(SplareError, match=r"text 5 .*not finite"):
        dense_vectors(model, [*TEXTS, BAD], "document")


def test_an_encoder_of_sentence_transformers_refuses_while_it_encodes():
    encoder = SplareEncoder.from_splare(spoiled(), device="cpu")
    encoder.encode_document(TEXTS)
    with pytest.raises(SplareError, match=r"bad token.*not finite in float32"):
        encoder.encode_document([BAD])
    encoder.train()  # here the guard of each step sees it in the loss
    features = encoder[0].preprocess([BAD])
    assert encoder(features)["sentence_embedding"].isnan().any()


def test_half_precision_names_the_other_one():
    assert "not finite in float16; load the model in another one (--dtype float32" in not_finite(torch.float16)
    assert "damaged" not in not_finite(torch.bfloat16)


def test_activation_keeps_what_is_no_number_and_nothing_else_changes():
    z = torch.tensor([[torch.nan, torch.inf, -torch.inf, 0.5, -1.0, 0.0, 2.0]])
    found = activate(z, torch.zeros(7), torch.tensor([0, 0, 0, 1.0, 0, 0, 1.0]))
    assert found[0, 0].isnan()
    assert found[0, 1].isinf()
    torch.testing.assert_close(found[0, 2:], torch.log1p(torch.tensor([0, 0, 0, 0, 2.0])))
