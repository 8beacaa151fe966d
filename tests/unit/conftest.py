"""A hub on loopback, for the tests of whatever downloads from one."""

import json
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    """The little of the hub's protocol that a download needs: a model or a dataset called me/tiny."""

    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.split("?")[0].replace("/datasets/me", "/me")
        files = self.server.files
        if path.startswith(("/api/models/me/tiny/tree/", "/api/me/tiny/tree/")):
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": sha1(d).hexdigest()}
                for n, d in files.items()
            ]
            self._send(200, json.dumps(tree).encode())
        elif path.startswith(("/api/models/me/tiny", "/api/me/tiny")):
            siblings = [{"rfilename": name} for name in files]
            self._send(200, json.dumps({"id": "me/tiny", "sha": COMMIT, "siblings": siblings}).encode())
        elif path.startswith(f"/me/tiny/resolve/{COMMIT}/") and path.split("/")[-1] in files:
            data = files[path.split("/")[-1]]
            self._send(200, data, {"ETag": f'"{sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def _send(self, status, data, headers=()):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def log_message(self, *words):
        pass


@pytest.fixture
def hub_server(tmp_path, monkeypatch):
    """The server: set its ``files`` (name to bytes) and see in ``asked`` what was asked for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.files, server.asked, server.commit = {}, [], COMMIT
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()
