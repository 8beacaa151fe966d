"""Git repositories over http on this machine, and what was asked of them."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from crawl.sources.entry import Caps

CAPS = Caps(file_bytes=1000, repo_bytes=1 << 20, files=100, ratio=100)


def run(*words: str, cwd: Path) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *identity, *words], cwd=cwd, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Backend(BaseHTTPRequestHandler):
    """`git http-backend` behind Python's web server."""

    protocol_version = "HTTP/1.1"
    root: Path
    headers_seen: list[str]
    wants: list[str]
    sent: int
    old = False
    """Whether it speaks the first protocol alone, by which no blob is had by its id."""
    faults: list[int | str]
    """What the next requests meet: a status, or "cut" for half an answer."""

    def do_GET(self) -> None:
        type(self).headers_seen += [f"{key}: {value}" for key, value in self.headers.items()]
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        type(self).wants += [want.decode() for want in re.findall(rb"want ([0-9a-f]{40})", asked)]
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            self.send_response(fault)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": "" if self.old else self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
        self.send_response(next((int(value[:3]) for key, value in fields if key == "Status"), 200))
        for key, value in fields:
            if key != "Status":
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        type(self).sent += len(content)
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)
        self.close_connection = fault == "cut"

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(root: Path) -> Iterator[str]:
    """Everything below ``root`` over http; what was asked and sent is counted from here."""
    Backend.root, Backend.headers_seen, Backend.wants, Backend.sent, Backend.faults = root, [], [], 0, []
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()  # a server whose socket is closed would spin beside every later test


def commit(forge: Path, name: str, files: dict[str, bytes]) -> str:
    """One more commit on a bare repository that allows partial clones; returns the commit."""
    work = forge / f"{name}-work"
    if not work.exists():
        run("init", "--quiet", "--bare", f"{name}.git", cwd=forge)
        run("config", "uploadpack.allowFilter", "true", cwd=forge / f"{name}.git")
        run("clone", "--quiet", f"{name}.git", work.name, cwd=forge)
    for path, content in files.items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(content)
    run("add", ".", cwd=work)
    run("commit", "--quiet", "--allow-empty", "-m", "more", cwd=work)
    run("push", "--quiet", "--force", "origin", "HEAD:main", cwd=work)
    return run("rev-parse", "HEAD", cwd=work)


def asked(since: int) -> int:
    return sum(header.startswith("Host:") for header in Backend.headers_seen[since:])
