"""Results to matched latents."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt
import pytest

from pyterrier_splare import Splare
from splare_plugins.errors import InputError
from splare_plugins.retrieval.explain import Explainer, explain


def test_explanations_are_those_of_the_core(splare: Splare, results: pd.DataFrame) -> None:
    out = splare.explainer(top=3)(results)
    for row in out.itertuples():
        assert row.explanation == explain(splare.model, row.query, row.text, docid=row.docno, top=3)
    assert max(len(each.matches) for each in out["explanation"]) == 3
    assert out.drop(columns="explanation").equals(results)


def test_contributions_add_up_to_the_score(splare: Splare, results: pd.DataFrame) -> None:
    out = (splare.scorer() >> splare.explainer(top=1000))(results)
    for row in out.itertuples():
        assert sum(match.contribution for match in row.explanation.matches) == row.score == row.explanation.score
        if row.score:
            assert sum(match.share for match in row.explanation.matches) == pytest.approx(1)


def test_top_k_of_the_factory_holds(splare: Splare, results: pd.DataFrame) -> None:
    short = splare.apply_attributes(query_top_k=2, doc_top_k=9)
    out = (short.scorer() >> short.explainer(top=1000))(results)
    assert [each.score for each in out["explanation"]] == out["score"].tolist()
    assert max(len(each.matches) for each in out["explanation"]) <= 2


def test_steering(splare: Splare, results: pd.DataFrame) -> None:
    (first,) = splare.explainer(top=1)(results.head(1))["explanation"]
    weights = {first.matches[0].term: 0}
    (steered,) = splare.explainer(weights=weights)(results.head(1))["explanation"]
    assert steered.score == first.score - first.matches[0].contribution
    assert splare.explainer(weights=weights) != splare.explainer()
    with pytest.raises(InputError, match="finite number"):
        splare.explainer(weights={"f1": float("nan")})(results.head(1))


def test_a_pair_is_explained_once(splare: Splare, results: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = []

    class Noting(Explainer):
        def __call__(self, document: str | None, **options: object) -> object:
            pairs.append((self.query, document))
            return super().__call__(document, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("splare_plugins.retrieval.explain.Explainer", Noting)
    twice = pd.concat([results.head(2), results.head(2).assign(qid="other")])
    splare.explainer()(twice)
    assert len(pairs) == len(set(pairs)) == 2


def test_a_cutoff_behind_is_a_cutoff_before(splare: Splare, results: pd.DataFrame) -> None:
    pipeline = splare.scorer() >> splare.explainer() % 2
    compiled = pipeline.compile()
    assert compiled == splare.scorer() >> pt.RankCutoff(2) >> splare.explainer()
    pd.testing.assert_frame_equal(compiled(results), pipeline(results))


def test_nothing_matches(splare: Splare) -> None:
    out = splare.explainer()(pd.DataFrame({"qid": ["1"], "query": [""], "docno": ["d"], "text": ["fox"]}))
    assert out["explanation"][0].matches == []


def test_at_least_one_latent(splare: Splare) -> None:
    with pytest.raises(InputError, match="top must be at least 1, not 0"):
        splare.explainer(top=0)
