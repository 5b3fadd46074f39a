"""A hub on this machine: folders as repositories, over HTTP, so that the real client is what is tested.

It answers what ``huggingface_hub`` asks when it downloads and uploads small files, and refuses as the hub does.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """Serves ``root/org/name`` as repositories; ``gated`` and ``read_only`` ones as such."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.gated: set[str] = set()
        self.read_only: set[str] = set()
        self.served: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running_hub(root: Path) -> Iterator[Hub]:
    with Hub(root) as hub:
        Thread(target=hub.serve_forever, args=(0.02,), daemon=True).start()
        yield hub
        hub.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        if path.startswith("api/models/"):
            repo = "/".join(path.split("/")[2:4])
            folder = self.server.root / repo
            if not folder.is_dir():
                return self._refuse(404, "RepoNotFound")
            if "/tree/" in path:
                return self._answer([_entry(file, folder) for file in _files(folder)])
            files = [{"rfilename": file.relative_to(folder).as_posix()} for file in _files(folder)]
            return self._answer({"id": repo, "modelId": repo, "sha": COMMIT, "siblings": files})
        repo, _, rest = path.partition("/resolve/")
        if repo in self.server.gated:
            return self._refuse(401, "GatedRepo")
        file = self.server.root / repo / rest.partition("/")[2]
        if not file.is_file():
            return self._refuse(404, "EntryNotFound" if (self.server.root / repo).is_dir() else "RepoNotFound")
        content = file.read_bytes()
        if self.command == "GET":
            self.server.served.append(f"{repo}/{file.name}")
        etag = hashlib.sha256(content).hexdigest()
        return self._send(200, content, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path).strip("/")
        if path == "api/validate-yaml":
            return self._answer({"errors": [], "warnings": []})
        if path == "api/repos/create":
            wanted = json.loads(body)
            repo = "/".join(filter(None, (wanted.get("organization"), wanted["name"])))
            if repo in self.server.read_only:
                return self._refuse(403, "")
            (self.server.root / repo).mkdir(parents=True, exist_ok=True)
            return self._answer({"url": f"{self.server.address}/{repo}", "name": repo})
        repo = "/".join(path.split("/")[2:4])
        if "/preupload/" in path:
            wanted = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self._answer({"files": wanted})
        assert "/commit/" in path, path
        for line in body.decode().splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                target = self.server.root / repo / entry["value"]["path"]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(base64.b64decode(entry["value"]["content"]))
        return self._answer({"commitUrl": f"{self.server.address}/{repo}/commit/{COMMIT}", "commitOid": COMMIT})

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"{}", {"X-Error-Code": code, "X-Error-Message": "a page of text"})

    def _answer(self, values: object) -> None:
        self._send(200, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(file: Path, folder: Path) -> dict[str, object]:
    oid = hashlib.sha256(file.read_bytes()).hexdigest()
    return {"type": "file", "path": file.relative_to(folder).as_posix(), "size": file.stat().st_size, "oid": oid}


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())
