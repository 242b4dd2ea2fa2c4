"""A small NDIF: it speaks the service's protocol, and runs requests as the service does.

A process of its own that has nnsight, torch and a model, and none of the project's modules:

    python tests/ndif.py MODEL_FOLDER KEY REPOSITORY COMMIT

It prints its address. What is to go wrong is posted to /faults, and happens once each, in order.
"""

import io
import json
import sys
import threading
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec

import torch
import zstandard
from nnsight import TransformersModel
from nnsight.schema.request import RequestModel
from nnsight.tracing import tracer as tracing

CLASS = "nnsight.modeling.transformers.TransformersModel"


class Service:
    """One model, its jobs, and what is to go wrong."""

    def __init__(self, folder, key, repository, commit):
        self.model = TransformersModel(
            folder, task="text-generation", dispatch=True, dtype=torch.float32
        )
        self.key, self.repository, self.commit = key, repository, commit
        self.jobs, self.results, self.faults, self.asked = {}, {}, {}, []
        self.turn = threading.Lock()

    def fault(self, place):
        """What goes wrong next at a place, if something does."""
        waiting = self.faults.get(place, [])
        return waiting.pop(0) if waiting else None

    def name(self):
        about = {"repo_id": self.repository, "revision": self.commit, "task": "text-generation"}
        return f"{CLASS}:{json.dumps(about)}"

    def run(self, id, blob):
        """Run a job: its status says what came of it."""
        try:
            if said := self.fault("job"):
                raise RuntimeError(said)
            with self.turn:
                self.results[id] = self.values(blob)
            self.jobs[id] = "COMPLETED", ""
        except Exception as error:
            self.jobs[id] = "ERROR", f"Traceback (most recent call last):\n  …\n{error}"

    def values(self, blob):
        """What a request saves, as the service sends it."""
        objects = self.model._remoteable_persistent_objects()
        tracer = RequestModel.deserialize(blob, objects, compress=True)
        tracing.inc()
        try:
            tracer.execute(tracer.info.code)
            saved = tracing._saves()
            scope = tracer.info.frame.f_locals
            found = {name: value for name, value in scope.items() if id(value) in saved}
        finally:
            tracing.dec()
        out = io.BytesIO()
        torch.save(found, out)
        return zstandard.ZstdCompressor().compress(out.getvalue())


class Handler(BaseHTTPRequestHandler):
    """Requests, their status, their results."""

    service: Service

    def log_message(self, *args):
        """Say nothing."""

    def answer(self, content, status=200):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refused(self, place):
        """Whether something goes wrong here by what was posted."""
        fault = self.service.fault(place)
        if fault == "lost":
            self.close_connection = True
            self.connection.close()
        elif fault is not None:
            self.answer({"detail": f"told to answer {fault}"}, fault)
        return fault is not None

    def do_POST(self):
        service, body = self.service, self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/faults":
            service.faults = json.loads(body)
            service.asked.clear()
            return self.answer({})
        if self.refused("request"):
            return None
        if self.headers.get("ndif-api-key") != service.key:
            return self.answer({"detail": "Missing or invalid API key."}, 401)
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts = BytesParser().parsebytes(head + body).get_payload()
        about, blob = (part.get_payload(decode=True) for part in parts)
        about = json.loads(about)
        assert about["model_key"] == service.name(), about
        id = str(len(service.jobs))
        service.asked.append(len(blob))
        service.jobs[id] = "RUNNING", ""
        threading.Thread(target=service.run, args=(id, blob), daemon=True).start()
        return self.answer({"id": id, "status": "RECEIVED"})

    def do_GET(self):
        service, (_, kind, *rest) = self.service, self.path.split("/")
        if self.refused(kind):
            return None
        if kind == "status":
            about = {"repo_id": service.repository, "revision": service.commit}
            about |= {"task": "text-generation", "model_key": service.name()}
            return self.answer({"deployments": {"one": about}})
        if kind == "asked":
            return self.answer(service.asked)
        if kind == "left":
            return self.answer([fault for some in service.faults.values() for fault in some])
        if kind == "result":
            return self.answer(service.results[rest[0]])
        status, said = service.jobs[rest[0]]
        host, port = self.server.server_address
        url = f"http://{host}:{port}/result/{rest[0]}" if status == "COMPLETED" else None
        return self.answer({"id": rest[0], "status": status, "description": said, "data": url})


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert find_spec("steerpaper") is None, "the service must not know the project's modules"
    Handler.service = Service(*sys.argv[1:])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
