"""A stand-in for the Hugging Face hub, as far as its client asks: repositories in memory, a commit a push."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Files = dict[str, bytes]


class Hub:
    """Repositories: each commit's files, and the commit that each branch stands for."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[str, Files]] = {}
        self.branches: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []

    def commit(self, repository: str, files: Files, branch: str = "main") -> str:
        content = json.dumps({name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
        name = hashlib.sha1(content.encode()).hexdigest()
        self.commits.setdefault(repository, {})[name] = files
        self.branches.setdefault(repository, {})[branch] = name
        return name

    def find(self, repository: str, revision: str) -> str | None:
        name = self.branches.get(repository, {}).get(revision, revision)
        return name if name in self.commits.get(repository, {}) else None


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, document: object) -> None:
        self._answer(200, json.dumps(document).encode(), Content_Type="application/json")

    def _missing(self, code: str) -> None:
        self._answer(404, b"{}", X_Error_Code=code, X_Error_Message="not here")

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append(path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            repository, what, revision = found.groups()
            commit = self.hub.find(repository, revision)
            if repository not in self.hub.commits:
                return self._missing("RepoNotFound")
            if commit is None:
                return self._missing("RevisionNotFound")
            files = self.hub.commits[repository][commit]
            if what == "tree":
                return self._json([self._listed(name, data) for name, data in files.items()])
            return self._json({"id": repository, "sha": commit, "siblings": [{"rfilename": name} for name in files]})
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repository, revision, name = found.groups()
            commit = self.hub.find(repository, revision)
            data = self.hub.commits.get(repository, {}).get(commit or "", {}).get(name)
            if data is None:
                return self._missing("EntryNotFound")
            etag = hashlib.sha1(data).hexdigest()
            return self._answer(200, data, X_Repo_Commit=str(commit), ETag=f'"{etag}"')
        return self._missing("RepoNotFound")

    do_HEAD = do_GET

    @staticmethod
    def _listed(name: str, data: bytes) -> dict[str, object]:
        return {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def do_POST(self) -> None:
        path = self.path.split("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self._answer(401, b'{"error": "Invalid username or password."}')
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.commits.setdefault(name, {})
            return self._json({"url": f"http://{self.headers['Host']}/{name}"})
        if re.fullmatch(r"/api/models/[^/]+/[^/]+/preupload/[^/]+", path):
            names = [file["path"] for file in json.loads(body)["files"]]
            return self._json({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/([^/]+)", path):
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            name = self.hub.commit(found[1], files, found[2])
            return self._json(
                {"commitUrl": f"http://{self.headers['Host']}/{found[1]}/commit/{name}", "commitOid": name}
            )
        return self._missing("RepoNotFound")


@contextmanager
def running() -> Iterator[tuple[str, Hub]]:
    """The address of a hub that runs in a thread of this process, and the hub."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
