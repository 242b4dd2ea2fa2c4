"""Explanations: the questions, the two explainers, the scores, and an endpoint's faults."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import plain
import pytest

from steerpaper.errors import UserError
from steerpaper.lookups import explanations as ex
from steerpaper.lookups.endpoint import AnswerCache, Endpoint, EndpointExplainer
from steerpaper.lookups.heads import PAIR, choose_heads
from steerpaper.lookups.local_explainer import NO_TEXT, LocalExplainer
from steerpaper.steering.prompts import continuation_ids, render, token_ids

KEY = "sk-a-secret-that-must-not-leak"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server(model_folders):
    """A real OpenAI-compatible server on the loopback: transformers', with a tiny chat model."""
    port = free_port()
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", str(model_folders["llama"]), "--host", "127.0.0.1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [*command, "--port", str(port), "--device", "cpu", "--dtype", "float32"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(300):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(timeout=30)


def endpoint(base_url, model="m", **changes):
    options = {
        "key_variable": None,
        "max_requests": 100,
        "parallel": 2,
        "timeout": 20,
        "retries": 0,
        "price": (0.0, 0.0),
    }
    return Endpoint(base_url, model, **{**options, **changes})


def test_real_server(server, model_folders, tmp_path):
    e = EndpointExplainer(
        endpoint(server, str(model_folders["llama"])),
        AnswerCache(tmp_path / "a.jsonl"),
        max_new_tokens=5,
    )
    print(e.explain(["Hello", "What?", "Hello"]))
    print((tmp_path / "a.jsonl").read_text())
