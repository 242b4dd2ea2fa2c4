"""A server on the loopback that has what studies fetch: repositories of the hub, files by path."""

import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# /api/datasets/<id>/revision/<commit>, and without its `datasets/` a file's place in a model
_ABOUT = re.compile(r"/api/(models|datasets)/(.+)/(revision|tree)/([0-9a-f]{40})")
_FILE = re.compile(r"/(datasets/)?(.+?)/resolve/([0-9a-f]{40})/(.+)")


@dataclass
class Shelf:
    """What the server has.

    Attributes:
        at: its address, which HF_ENDPOINT takes for the hub's.
        repositories: folders by kind (models, datasets), id and commit.
        files: contents by the path that stands behind the address.
        asked: the paths that were asked for.
    """

    at: str = ""
    repositories: dict[tuple[str, str, str], Path] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def put(self, path: str, content: bytes) -> dict[str, str]:
        """Have a file, and say how a configuration names it: {url, sha256}."""
        self.files[f"/{path}"] = content
        return {"url": f"{self.at}/{path}", "sha256": hashlib.sha256(content).hexdigest()}

    def answer(self, path: str) -> tuple[bytes, str] | None:
        """What stands at a path, and the commit that it is of; None where there is nothing."""
        if path in self.files:
            return self.files[path], ""
        if about := _ABOUT.fullmatch(path):
            kind, name, what, commit = about.groups()
            folder = self.repositories.get((kind, name, commit))
            return folder and (_described(name, commit, folder, what), commit)
        if wanted := _FILE.fullmatch(path):
            data, name, commit, file = wanted.groups()
            folder = self.repositories.get(("datasets" if data else "models", name, commit))
            if folder and (folder / file).is_file():
                return (folder / file).read_bytes(), commit
        return None


def _described(name, commit, folder, what):
    """A repository as the hub tells of it: its files, or the tree of them."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    if what == "revision":
        siblings = [{"rfilename": path.relative_to(folder).as_posix()} for path in files]
        return json.dumps({"id": name, "sha": commit, "siblings": siblings}).encode()
    tree = [
        {
            "type": "file",
            "path": path.relative_to(folder).as_posix(),
            "size": path.stat().st_size,
            "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        }
        for path in files
    ]
    return json.dumps(tree).encode()


@contextmanager
def serving():
    """Serve a shelf that is still empty."""
    shelf = Shelf()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = self.path.partition("?")[0]
            shelf.asked.append(path)
            found = shelf.answer(path)
            if found is None:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body, commit = found
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if commit:
                self.send_header("X-Repo-Commit", commit)
                self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def do_HEAD(self):
            self.do_GET()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shelf.at = f"http://127.0.0.1:{server.server_port}"
        try:
            yield shelf
        finally:
            server.shutdown()
