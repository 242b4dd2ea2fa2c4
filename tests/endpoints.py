"""Endpoints of judges on the loopback: a real server, and one whose every reply is scripted."""

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

from steerpaper.judges.endpoint import Endpoint

KEY = "sk-a-secret-that-must-not-leak"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(model):
    """A real OpenAI-compatible server on the loopback: transformers', with a tiny chat model."""
    port = free_port()
    program = Path(sys.executable).with_name("transformers")
    command = [program, "serve", str(model), "--host", "127.0.0.1"]
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
        "section": "lookups.explanations.endpoint",
        "fewer": "lookups.heads.per_neuron",
    }
    return Endpoint(base_url, model, **{**options, **changes})


def completion(text):
    return 200, json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": text},
                }
            ],
        }
    )


def fault(status, code=None, message="no"):
    return status, json.dumps({"error": {"message": message, "code": code, "type": "t"}})


@contextmanager
def answering(answer):
    """A server on the loopback whose every reply is `answer(number, request)`: status and body."""
    requests = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                requests.append({**body, "key": self.headers["Authorization"]})
                number = len(requests)
            status, text = answer(number, body)
            kind = "application/json" if text[:1] == "{" else "text/html"
            try:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())
            except BrokenPipeError:  # the client has given up
                pass

        def log_message(self, *_):
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1", requests
    finally:
        httpd.shutdown()
        httpd.server_close()
