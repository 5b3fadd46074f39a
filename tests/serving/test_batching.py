"""Many requests, few calls of the encoder, and everyone gets what was asked for."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from splare_plugins.config import SideConfig
from splare_plugins.impacts import from_dicts, to_dicts
from splare_plugins.model.splare import SplareModel
from splare_plugins.serving.limits import Limits
from splare_plugins.serving.queue import Job, QueueFullError, TokenQueue, estimate_tokens
from tests.serving.conftest import GatedModel, wait_until
from tests.tiny import TEXTS


def job(tokens: int, side="document", top_k=None) -> Job:
    return Job(["text"], side, top_k, tokens)


def test_a_batch_is_of_one_kind_in_order_and_within_its_tokens():
    queue = TokenQueue(1000, workers=1)
    jobs = [job(4), job(3, "query"), job(5), job(2, top_k=3), job(4), job(1)]
    for one in jobs:
        queue.put(one)
    assert queue.take(10) == [jobs[0], jobs[2], jobs[5]]
    assert queue.tokens == 9
    assert [queue.take(10) for _ in range(3)] == [[jobs[1]], [jobs[3]], [jobs[4]]]
    assert (queue.tokens, len(queue)) == (0, 0)


def test_a_job_above_the_budget_is_a_batch_of_its_own():
    queue = TokenQueue(1000, workers=1)
    jobs = [job(50), job(1)]
    for one in jobs:
        queue.put(one)
    assert queue.take(10) == jobs[:1]


def test_a_full_queue_refuses_and_guesses_when_there_is_room():
    queue = TokenQueue(100, workers=2)
    queue.put(job(101))  # an empty queue takes anything
    with pytest.raises(QueueFullError) as full:
        queue.put(job(1))
    assert full.value.retry_after == 1
    queue.measured(tokens=10, seconds=1.0)
    with pytest.raises(QueueFullError) as full:
        queue.put(job(1))
    assert full.value.retry_after == 6  # 101 tokens at 0.1 s by two workers
    queue.take(1000)
    queue.put(job(1))


def test_a_discarded_job_makes_room_and_is_not_taken():
    queue = TokenQueue(100, workers=1)
    gone, kept = job(60), job(40)
    queue.put(gone)
    queue.put(kept)
    queue.discard(gone)
    assert queue.tokens == 40
    assert queue.take(100) == [kept]
    with pytest.raises(CancelledError):
        gone.answer.result(0)


def test_a_closed_queue_gives_what_it_has_and_then_nothing():
    queue = TokenQueue(100, workers=1)
    waiting = job(1)
    queue.put(waiting)
    queue.close()
    assert queue.take(10) == [waiting]
    assert queue.take(10) == []


def test_tokens_are_guessed_up_to_the_limit_of_the_side():
    side = SideConfig(prompt="q: ", max_length=20)
    assert estimate_tokens("", side) == 2
    assert estimate_tokens("nine more", side) == 5
    assert estimate_tokens("搜索引擎", side) == 5
    assert estimate_tokens("long " * 100, side) == 20


def test_every_client_gets_its_own_answer(server, tiny):
    """Vectors may differ by rounding with the company they were encoded in; 32 clients, two sides, two top-k."""
    texts = [f"{text} number {number}" for number, text in enumerate(TEXTS * 24)]
    fields = [
        {"content_type": ("passage", "query")[n % 2], "top_k": (None, 5)[n % 3 == 0], "weights": "impact"}
        for n in range(len(texts))
    ]
    with ThreadPoolExecutor(32) as clients:
        answers = list(clients.map(lambda text, options: server.encode([text], **options), texts, fields))
    for text, options, answer in zip(texts, fields, answers, strict=True):
        query = options["content_type"] == "query"
        encode, quantize = (
            (tiny.encode_queries, tiny.quantizer.queries)
            if query
            else (tiny.encode_documents, tiny.quantizer.documents)
        )
        expected = quantize(encode([text], top_k=options["top_k"] or "model")).impacts.toarray()
        got = from_dicts(answer.json(), tiny.config.width).toarray()
        # A latent at the edge of the top-k may be exchanged for one of nearly the same weight.
        wrong = np.abs(got - expected) > 1
        assert wrong.sum() <= 2, text


def test_waiting_requests_are_encoded_together(serve, gated):
    client = serve(lambda device: gated)
    gated.gate.clear()
    with ThreadPoolExecutor(9) as clients:
        first = clients.submit(client.encode, ["first"])
        assert gated.at_gate.acquire(timeout=20)
        rest = [clients.submit(client.encode, [f"text {n}", "shared"]) for n in range(8)]
        wait_until(lambda: client.metric("splare_queue_requests") == 8)
        gated.gate.set()
        answers = [one.result().json() for one in (first, *rest)]
    assert [len(call) for call in gated.calls[1:]] == [1, 16]  # after the warm-up
    texts = gated.calls[2]
    together = to_dicts(gated.quantizer.documents(gated.encode_documents(texts)).impacts)
    by_text = dict(zip(texts, together, strict=True))
    for number, answer in enumerate(answers[1:]):
        assert answer == [by_text[f"text {number}"], by_text["shared"]]
    assert client.metric("splare_batch_requests_count") == 2
    assert client.metric("splare_batch_requests_sum") == 9
    assert client.metric('splare_texts_total{content_type="passage"}') == 17
    assert client.metric("splare_queue_tokens") == 0


def test_a_text_that_breaks_the_model_fails_alone(serve, gated):
    client = serve(lambda device: gated)
    gated.gate.clear()
    with ThreadPoolExecutor(4) as clients:
        first = clients.submit(client.encode, ["first"])
        assert gated.at_gate.acquire(timeout=20)
        good, bad, other = [clients.submit(client.encode, [text]) for text in ("good", gated.poison, "other")]
        wait_until(lambda: client.metric("splare_queue_requests") == 3)
        gated.gate.set()
        assert [one.result().status_code for one in (first, good, bad, other)] == [200, 200, 500, 200]
        assert "log" in bad.result().json()["detail"]
        assert bad.result().headers["X-Request-Id"]
    assert len(gated.calls[2]) == 3, "they were a batch"
    assert client.encode(["after"]).status_code == 200


def test_a_client_that_goes_away_costs_no_encoding(serve, gated):
    client = serve(lambda device: gated, limits=Limits(queue_tokens=100))
    gated.gate.clear()
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(client.encode, ["first"])
        assert gated.at_gate.acquire(timeout=20)
        body = b'{"texts": ["nobody waits for this %s"]}' % (b"x" * 300)
        host, port = client.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as leaver:
            leaver.sendall(b"POST /encode HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            wait_until(lambda: client.metric("splare_queue_requests") == 1)
        wait_until(lambda: client.metric("splare_queue_tokens") == 0)
        kept = clients.submit(client.encode, ["kept"])
        wait_until(lambda: client.metric("splare_queue_requests") == 1)
        gated.gate.set()
        assert first.result().status_code == kept.result().status_code == 200
    assert not any("nobody" in text for call in gated.calls for text in call)
    assert client.metric('splare_requests_total{path="/encode",status="499"}') == 1


def test_a_client_that_goes_away_while_its_batch_runs_breaks_nothing(serve, gated):
    client = serve(lambda device: gated)
    gated.gate.clear()
    host, port = client.url.removeprefix("http://").split(":")
    with ThreadPoolExecutor(1) as clients:
        with socket.create_connection((host, int(port))) as leaver:
            body = b'{"texts": ["gone"]}'
            leaver.sendall(b"POST /encode HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            assert gated.at_gate.acquire(timeout=20)
        wait_until(lambda: client.metric("splare_requests_in_flight") == 1)  # the one that reads the metrics
        after = clients.submit(client.encode, ["after"])
        gated.gate.set()
        assert after.result().status_code == 200


def test_each_device_has_a_model_that_works_beside_the_others(serve, tiny_folder):
    """Two calls are at their gates at once; each thread has the model that it loaded."""
    models = [GatedModel(SplareModel.from_pretrained(tiny_folder, device="cpu")) for _ in range(2)]
    given = iter(models)
    lock = threading.Lock()

    def load(device: str) -> GatedModel:
        with lock:
            return next(given)

    client = serve(load, devices=("cpu", "cpu"))
    at_gate = models[1].at_gate = models[0].at_gate
    for model in models:
        model.gate.clear()
    answers = []
    with ThreadPoolExecutor(2) as clients:
        for text in ("one", "two"):  # together they would be one batch
            answers.append(clients.submit(client.encode, [text]))
            assert at_gate.acquire(timeout=10)
        for model in models:
            model.gate.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]
    assert sorted(model.calls[1:] for model in models) == [[["one"]], [["two"]]]
