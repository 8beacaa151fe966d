"""A real HTTP server on loopback that speaks OpenAI's protocol for a small model, and can misbehave."""

import contextlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from evals.backends import Request
from evals.backends.local import Local
from evals.config import Sample
from evals.prompts import Prompt

GARBAGE = {
    "torn": b'{"choices": [{"text": "x", "fin',
    "none": b'{"choices": []}',
    "two": b'{"choices": [{"text": "a"}, {"text": "b"}]}',
    "no_text": b'{"choices": [{"text": 7}]}',
    "deep": b"[" * 100_000,
    "list": b"[1]",
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._send(200, {"data": [{"id": name} for name in self.server.names]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "hang":
            time.sleep(6.0)
        elif fault == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                with contextlib.suppress(OSError):
                    self.wfile.write(b" ")
                time.sleep(0.06)
        elif isinstance(fault, int):
            self._send(fault, {"error": {"message": f"says {fault}"}})
        elif fault is not None:
            self._send(200, GARBAGE[fault])
        else:
            self._send(200, self.server.complete(body))

    def _send(self, status, answer):
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    def log_message(self, *words):
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def complete(self, body):
        """The small model's own completion, cut as servers cut."""
        prompt = body.get("prompt") or body["messages"][0]["content"]
        ids = tuple(prompt if isinstance(prompt, list) else self.model.tokenizer(prompt)["input_ids"])
        stops = tuple(body.get("stop", ()))
        request = Request("s", "p", 0, Prompt("", ids=ids), stops, body["max_tokens"], body["seed"])
        with self.lock:
            ((_, done),) = self.model.generate([request])
        text = done.text
        for stop in request.stop:
            text = text.split(stop)[0]
        choice = {"finish_reason": "length" if done.finish == "length" else "stop", "index": 0}
        choice |= {"message": {"content": text}} if "messages" in body else {"text": text}
        return {"choices": [choice], "usage": {"completion_tokens": done.tokens}}


@contextlib.contextmanager
def serving(folder, names=("tiny",)):
    """The server; ``url``, ``asked`` (path, headers, body of each request), ``faults`` (of the next ones)."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.model, server.lock = Local(folder, Sample(batch=1)), threading.Lock()
    server.names, server.asked, server.faults = list(names), [], []
    server.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
