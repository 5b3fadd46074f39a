"""A conversion needs little more memory than its result, whichever way the encoder is stored."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.heads.importers import replicas

# Anonymous memory is what counts: pages of a mapped file are the system's to take back.
CONVERT = """
import gc, json, sys, threading, time
from pathlib import Path
import torch
from splare_plugins.heads.importers import import_sae

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("RssAnon")).split()[1])

def grown(source):
    peaks, done = [], threading.Event()
    before = anonymous()
    def watch():
        while not done.is_set():
            peaks.append(anonymous())
            time.sleep(0.002)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    folder = import_sae(source, output=Path(source) / "head")
    done.set()
    thread.join()
    gc.collect()
    return (max(peaks) - before) / (folder / "head.safetensors").stat().st_size

warm_up, *sources = sys.argv[1:]
grown(warm_up)
print(json.dumps([grown(source) for source in sources]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_conversion_needs_little_more_memory_than_its_result(tmp_path, monkeypatch):
    warm_up = replicas.llama_scope(tmp_path / "small").folder
    monkeypatch.setattr(replicas, "M", 8192)
    monkeypatch.setattr(replicas, "D", 2048)
    large = replicas.weights(8192, 2048)
    monkeypatch.setattr(replicas, "weights", lambda: large)
    folders = [
        replicas.llama_scope(tmp_path).folder,
        replicas.gemma_scope(tmp_path, width="any").folder,
        replicas.qwen_scope(tmp_path).folder,
    ]
    command = [sys.executable, "-c", CONVERT, str(warm_up), *map(str, folders)]
    # Freed memory goes back at once, so that each conversion is measured by itself.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    ratios = json.loads(done.stdout)
    assert max(ratios) < 1.5, ratios
