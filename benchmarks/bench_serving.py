"""What batching across requests gives, and what the service does under more load than it can take.

    python benchmarks/bench_serving.py batching [--clients 32] [--seconds 20] [--words 2]
    python benchmarks/bench_serving.py load [--clients 64] [--minutes 3]

Both start ``splare serve`` on a free loopback port and are bounded in clients and time. ``batching`` compares clients
that send one text each and wait with one such client, in turn, on the same server. ``load`` sends requests of several
passages as fast as the server lets it, counts statuses, watches the server's memory, and compares its passages a
second with the bare encoder's: a sample of them given to ``encode_documents``, in a process of its own before the
server runs and again after, since a machine may be slower at one time than at another. ``batching`` takes two and a
half minutes, ``load`` six.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from harness import Figure, add_options, disagree, require_found, require_same, write_record

from splare_plugins.corpus import read_documents, read_queries

DATA = Path(__file__).parents[1] / "examples" / "data"
ALLOWED = {200, 413, 429, 503}
LOST = 0
"""In place of a status: the connection broke, or nothing came."""


class Client:
    """One connection that is kept."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=300)

    def encode(self, texts: list[str], content_type: str) -> tuple[int, int, bytes]:
        """Status, seconds to wait after a refusal, and the answer."""
        body = json.dumps({"texts": texts, "content_type": content_type})
        self._connection.request("POST", "/encode", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        found = answer.read()
        return answer.status, int(answer.headers.get("Retry-After", 0)), found

    def get(self, path: str) -> tuple[int, str]:
        """Status and body."""
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode()

    def metric(self, name: str) -> float:
        """A number of ``/metrics``, summed over its labels."""
        lines = self.get("/metrics")[1].splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((name + " ", name + "{")))


@contextmanager
def server(model: str, device: str) -> Iterator[str]:
    command = [str(Path(sys.executable).with_name("splare")), "serve", model, "--port", "0", "--device", device]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().removeprefix("listening on ").strip()
        while Client(url).get("/readyz")[0] != 200:
            if process.poll() is not None:
                raise SystemExit("the server did not start; run splare serve to see why")
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(120)


def closed_loop(
    url: str,
    batches: list[list[str]],
    content_type: str,
    clients: int,
    seconds: float,
    answers: dict[str, bytes] | None = None,
) -> Counter[int]:
    """Texts answered by status: each client sends its next batch when it has the answer to the last.

    ``answers`` takes what was said of each first text.
    """
    texts_by_status: Counter[int] = Counter()
    lock = threading.Lock()
    deadline = time.monotonic() + seconds

    def run(number: int) -> None:
        client = Client(url)
        own: Counter[int] = Counter()
        for batch in itertools.cycle(batches[number::clients]):
            if time.monotonic() >= deadline:
                break
            try:
                status, wait, found = client.encode(batch, content_type)
                if status == 200 and answers is not None:
                    answers[batch[0]] = found
            except (OSError, http.client.HTTPException):
                client, status, wait = Client(url), LOST, 1
            own[status] += len(batch)
            if status != 200:
                time.sleep(min(wait, max(0.0, deadline - time.monotonic())))
        with lock:
            texts_by_status.update(own)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return texts_by_status


def batching(options: argparse.Namespace) -> list[Figure]:
    queries = [query.text for query in read_queries(DATA / "xquad" / "en")]
    if options.words:
        queries = [" ".join(query.split()[: options.words]) for query in queries]
    batches = [[query] for query in queries]
    rates: dict[int, list[float]] = {1: [], options.clients: []}
    answers: dict[int, dict[str, bytes]] = {1: {}, options.clients: {}}
    with server(options.model, options.device) as url:
        closed_loop(url, batches, "query", options.clients, 2)
        for _ in range(options.rounds):
            for clients, measured in rates.items():
                begin = time.perf_counter()
                texts = closed_loop(url, batches, "query", clients, options.seconds, answers[clients])
                require_same(f"statuses with {clients} clients", sorted(texts), [200])
                measured.append(texts[200] / (time.perf_counter() - begin))
        size = Client(url).metric("splare_batch_texts_sum") / Client(url).metric("splare_batch_texts_count")
    one, many = (statistics.median(measured) for measured in rates.values())
    print(f"{len(queries)} queries of {statistics.mean(len(q.split()) for q in queries):.1f} words, {options.device}")
    print(f"{'clients':>8} {'texts/s':>9}")
    print(f"{1:>8} {one:9.1f}")
    print(f"{options.clients:>8} {many:9.1f}")
    print(f"ratio {many / one:.2f}; mean batch over both {size:.1f} texts")
    both = answers[1].keys() & answers[options.clients].keys()
    require_found("texts that were sent both ways", len(both))
    for text in both:
        (alone,), (together,) = json.loads(answers[1][text]), json.loads(answers[options.clients][text])
        for latent in alone.keys() | together.keys():
            # Batches round in another order, so an impact may be 1 apart, and the last of the top-k another one.
            apart = abs(alone.get(latent, 0) - together.get(latent, 0))
            if apart > 1 and apart > min(alone.values()) + 1:
                disagree(f"{latent} of {text[:30]!r} differs by {apart} between one client and {options.clients}")
    return [
        Figure(
            what=f"`/encode`, {options.clients} clients of one text each",
            against="one text at a time",
            ratio=[many / one],
            unit=["x faster"],
            aim=4,
            command="bench_serving.py batching",
        )
    ]


def load(options: argparse.Namespace) -> list[Figure]:
    documents = [document.content for document in itertools.islice(read_documents(DATA / "scifact"), 2000)]
    random.Random(0).shuffle(documents)
    sample = documents[: options.bare_texts]
    bare = [bare_rate(options.model, options.device, sample)]
    batches = [documents[start : start + options.batch] for start in range(0, len(documents), options.batch)]
    memory: list[float] = []
    with server(options.model, options.device) as url:
        closed_loop(url, batches, "passage", options.clients, 10)
        stop = threading.Event()

        def watch() -> None:
            client = Client(url)
            while not stop.wait(1):
                memory.append(client.metric("process_resident_memory_bytes") / 2**20)

        watcher = threading.Thread(target=watch)
        watcher.start()
        encoded, begin = Client(url).metric("splare_texts_total"), time.perf_counter()
        statuses = closed_loop(url, batches, "passage", options.clients, 60 * options.minutes)
        rate = (Client(url).metric("splare_texts_total") - encoded) / (time.perf_counter() - begin)
        stop.set()
        watcher.join()
    bare.append(bare_rate(options.model, options.device, sample))
    fifth = max(1, len(memory) // 5)
    peaks = [max(memory[start : start + fifth]) for start in range(0, 5 * fifth, fifth)]
    print(f"{options.clients} clients, {options.batch} passages a request, {options.minutes:g} minutes")
    names = {LOST: "no answer"}
    print("texts by status: " + ", ".join(f"{names.get(each, each)}: {n}" for each, n in sorted(statuses.items())))
    fifths = ", ".join(f"{peak:.0f}" for peak in peaks)
    print(f"memory MiB, highest of each fifth: {fifths}; last to first {peaks[-1] / peaks[0]:.3f}")
    mean = statistics.mean(bare)
    print(
        f"bare encoder {bare[0]:.2f} before, {bare[1]:.2f} after; service {rate:.2f} passages/s, {rate / mean:.2f} x"
    )
    require_found("texts answered", statuses[200])
    if set(statuses) - ALLOWED:
        disagree("there were answers other than 200, 413, 429 and 503")
    return [
        Figure(
            what=f"`/encode`, {options.clients} clients for {options.minutes:g} minutes: answers 200 and 429 alone",
            against="bare encoder",
            ratio=[rate / mean],
            unit=["of its throughput"],
            aim=0.8,
            command=f"bench_serving.py load --minutes {options.minutes:g}",
        )
    ]


def bare_rate(model_name: str, device: str, texts: list[str]) -> float:
    """Passages a second without a server, in a process of its own so that its memory and threads are gone after."""
    program = (
        "import json, sys, time\n"
        "from splare_plugins.model.splare import SplareModel\n"
        "model, texts = SplareModel.from_pretrained(sys.argv[1], device=sys.argv[2]), json.load(sys.stdin)\n"
        "model.encode_documents(texts[:8])\n"
        "begin = time.perf_counter()\n"
        "model.encode_documents(texts)\n"
        "print(len(texts) / (time.perf_counter() - begin))\n"
    )
    command = [sys.executable, "-c", program, model_name, device]
    output = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True).stdout
    return float(output.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--model", default="splare-e5-small")
    shared.add_argument("--device", default="cpu")
    ways = parser.add_subparsers(dest="way", required=True)
    one = ways.add_parser("batching", parents=[shared])
    one.add_argument("--clients", type=int, default=32)
    one.add_argument("--seconds", type=float, default=20)
    one.add_argument("--rounds", type=int, default=3)
    one.add_argument("--words", type=int, default=0, help="cut queries to so many words; 0 leaves them")
    two = ways.add_parser("load", parents=[shared])
    two.add_argument("--clients", type=int, default=64)
    two.add_argument("--minutes", type=float, default=3)
    two.add_argument("--batch", type=int, default=4, help="passages of a request")
    two.add_argument("--bare-texts", type=int, default=400)
    add_options(one, {"seconds": 3, "rounds": 1, "clients": 8})
    add_options(two, {"minutes": 0.2, "clients": 8, "bare_texts": 32})
    options = parser.parse_args()
    if not (1 <= options.clients <= 256 and os.name == "posix"):
        parser.error("--clients must lie in 1..256")
    # The server must not outlive a benchmark that is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    write_record(options, {"batching": batching, "load": load}[options.way](options))


if __name__ == "__main__":
    main()
