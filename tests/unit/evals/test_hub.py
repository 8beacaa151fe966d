"""A name on the hub becomes a commit and a folder; only data are fetched, and what fails is one line."""

import json
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import corpus
import hub
from evals.config import Sample
from evals.sample import write_samples

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    """The little of the hub's protocol that a download needs."""

    def do_GET(self):
        self.server.asked.append(self.path)
        path = self.path.split("?")[0]
        files = self.server.files
        if path.startswith("/api/models/me/tiny/tree/"):
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": sha1(d).hexdigest()}
                for n, d in files.items()
            ]
            self._send(200, json.dumps(tree).encode())
        elif path.startswith("/api/models/me/tiny"):
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
def served(model, tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.files = {file.name: file.read_bytes() for file in model.iterdir()}
    server.files |= {"modeling_evil.py": b"raise SystemExit", "pytorch_model.bin": b"pickle"}
    server.asked = []
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    yield server
    server.shutdown()
    server.server_close()


def test_model_of_the_hub_is_judged_at_the_commit_that_its_name_stands_for(served, model, problems, tmp_path):
    settings = Sample(limit=1, max_new_tokens=4)
    there = write_samples(problems.path, "me/tiny", tmp_path / "there", settings)
    here = write_samples(problems.path, str(model), tmp_path / "here", settings)
    assert there.digest == here.digest
    assert there.manifest["generation"]["model"] == f"me/tiny@{COMMIT}"
    assert not [path for path in served.asked if path.endswith((".py", ".bin"))]
    assert hub.commit_of(f"me/tiny@{COMMIT}") == f"me/tiny@{COMMIT}"


def test_model_that_the_hub_has_not_is_one_line(served, problems, tmp_path):
    with pytest.raises(
        corpus.Refusal, match="me/other is no file here and cannot be had from the hub"
    ) as refused:
        write_samples(problems.path, "me/other", tmp_path / "samples", Sample())
    assert "\n" not in str(refused.value)
    assert not hub.named("out/samples.jsonl") and not hub.named("https://x/y") and not hub.named("model")
