from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn import functional

from splare_plugins.errors import InputError
from splare_plugins.heads import LanguageModelHead, MaskedLanguageModelHead, load_head
from splare_plugins.heads.lm import TOKENS
from splare_plugins.heads.record import TENSORS

OFFSETS = torch.tensor([0, 6, 6, 11])
KEEP = torch.tensor([True, True, False, True, True, True, True, False, True, True, True])


def lm(**options) -> LanguageModelHead:
    torch.manual_seed(0)
    return LanguageModelHead(torch.randn(20, 4), torch.randn(20), tokens=[f"w{n}" for n in range(18)], **options)


def mlm(**options) -> MaskedLanguageModelHead:
    torch.manual_seed(0)
    parts = {
        "dense": torch.randn(6, 4),
        "dense_bias": torch.randn(6),
        "norm": torch.rand(6),
        "norm_bias": torch.randn(6),
    }
    return MaskedLanguageModelHead(torch.randn(20, 6), torch.randn(20), **{**parts, **options})


def states() -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(11, 4)


def dense_logits(head: LanguageModelHead, tokens: torch.Tensor) -> torch.Tensor:
    if isinstance(head, MaskedLanguageModelHead):
        tokens = functional.gelu(tokens @ head.dense.T + head.dense_bias)
        tokens = functional.layer_norm(tokens, (tokens.shape[1],), head.norm, head.norm_bias, head.eps)
    logits = head.scale * (tokens @ head.W.T + head.b)
    return logits if head.softcap is None else head.softcap * torch.tanh(logits / head.softcap)


def dense_weights(head: LanguageModelHead, tokens: torch.Tensor) -> torch.Tensor:
    weights = torch.log1p(torch.relu(dense_logits(head, tokens)))
    rows = [weights[a:b][KEEP[a:b]] for a, b in pairwise(OFFSETS.tolist())]
    return torch.stack([row.amax(0) if len(row) else torch.zeros(head.width) for row in rows])


HEADS = {
    "lm": lm,
    "lm, scaled and capped": lambda: lm(scale=0.25, softcap=0.7),
    "mlm": mlm,
    "mlm without biases": lambda: mlm(dense_bias=None, norm_bias=None),
}


@pytest.fixture(params=HEADS)
def head(request) -> LanguageModelHead:
    return HEADS[request.param]()


def test_weights_are_the_dense_formula(head):
    torch.testing.assert_close(head(states(), OFFSETS, KEEP), dense_weights(head, states()))


def test_gradients_are_those_of_the_dense_formula(head):
    torch.manual_seed(2)
    slope = torch.randn(3, 20)
    leaves = [states().requires_grad_(), *head.requires_grad_().parameters()]
    ours = torch.autograd.grad((head(leaves[0], OFFSETS, KEEP) * slope).sum(), leaves)
    theirs = torch.autograd.grad((dense_weights(head, leaves[0]) * slope).sum(), leaves)
    for one, other in zip(ours, theirs, strict=True):
        assert one.abs().sum() > 0
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_a_token_alone_would_give_is_its_logits_activated(head):
    latents = torch.tensor([0, 19, 7])
    expected = dense_logits(head, states())[:, latents].relu().log1p()
    torch.testing.assert_close(head.token_weights(states(), latents), expected)


def test_a_saved_head_loads_to_the_same_weights_and_names(head, tmp_path):
    head.card["source"] = "random"
    loaded = load_head(head.kind, tmp_path, sha256=head.save(tmp_path))
    assert type(loaded) is type(head)
    assert torch.equal(loaded(states(), OFFSETS, KEEP), head(states(), OFFSETS, KEEP))
    assert [loaded.name(n) for n in range(20)] == [head.name(n) for n in range(20)]
    assert loaded.card["source"] == "random"
    assert loaded.save(tmp_path) == head.save(tmp_path)


def test_latents_beyond_the_tokens_keep_their_pseudo_terms():
    assert [lm().name(n) for n in (0, 17, 18)] == ["w0", "w17", "f18"]


def test_placing_a_head_rounds_matrices_only(head):
    head.place(torch.device("cpu"), torch.bfloat16)
    halves = {name for name, tensor in head.tensors().items() if tensor.dtype == torch.bfloat16}
    assert halves == {"W", "dense"} & set(head.tensors())
    found = head(states().bfloat16(), OFFSETS, KEEP)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, dense_weights(head.float(), states()), rtol=0.05, atol=0.05)


def test_damaged_heads_are_refused(head, tmp_path):
    sha256 = head.save(tmp_path)
    with pytest.raises(InputError, match="does not have the hash"):
        load_head(head.kind, tmp_path, sha256="0" * 64)
    (tmp_path / TENSORS).write_bytes((tmp_path / TENSORS).read_bytes()[:-10])
    with pytest.raises(InputError, match=f"complete {head.kind} head"):
        load_head(head.kind, tmp_path, sha256=sha256)
    head.save(tmp_path)
    (tmp_path / TOKENS).unlink()
    with pytest.raises(InputError, match=f"complete {head.kind} head"):
        load_head(head.kind, tmp_path, sha256=sha256)


def test_a_head_of_another_kind_is_refused(tmp_path):
    lm().save(tmp_path)
    with pytest.raises(InputError, match="complete mlm head"):
        load_head("mlm", tmp_path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LanguageModelHead(torch.zeros(3, 2), torch.zeros(2)), "needs W"),
        (lambda: LanguageModelHead(torch.full((3, 2), torch.nan)), "NaN"),
        (lambda: LanguageModelHead(torch.zeros(3, 2), scale=-1.0), "must be positive"),
        (lambda: LanguageModelHead(torch.zeros(3, 2), softcap=0.0), "must be positive"),
        (lambda: LanguageModelHead(torch.zeros(3, 2), tokens=["a"] * 4), "cannot have 4 tokens"),
        (lambda: mlm(norm=torch.zeros(5)), "three vectors of m"),
        (lambda: mlm(dense=torch.zeros(5, 4)), "three vectors of m"),
        (lambda: mlm(norm=torch.full((6,), torch.inf)), "infinite"),
        (lambda: mlm(activation="no-such"), "unknown activation"),
    ],
)
def test_impossible_heads_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
