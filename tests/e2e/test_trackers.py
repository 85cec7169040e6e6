"""A run whose tracking server is lost: it ends well, and names the tracker once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backbench import load
from backbench.execution import observing
from backbench.store.store import Store
from tests.conftest import Bench

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(  # not imported: that takes seconds of every worker of pytest
        importlib.util.find_spec("mlflow") is None, reason="the extra mlflow is not installed"
    ),
]

#: A server that answers as MLflow's until a stage has begun, and is then killed, or is silent.
SERVER = """
import json, os, signal, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

begun = 0

class Handler(BaseHTTPRequestHandler):
    def answer(self):
        global begun
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, content = 200, {}
        if "get-by-name" in self.path:
            status, content = 404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}
        elif self.path.endswith("experiments/create"):
            content = {"experiment_id": "0"}
        elif self.path.endswith("runs/create"):
            begun += 1
            info = {"run_id": str(begun), "run_uuid": str(begun), "experiment_id": "0"}
            content = {"run": {"info": {**info, "status": "RUNNING"}, "data": {}}}
        if begun > 1 and sys.argv[1] == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        elif begun > 1:
            threading.Event().wait()
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *arguments):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""

BENCHMARK = """
[benchmark]
name = "tracked"
seeds = [0]
[datasets.drawn]
plugin = "embedded"
train_per_class = 8
val_per_class = 2
classes = 2
[methods.rotnet]
preset = "small"
epochs = 1
batch_size = 8
schedule = {{ warmup_epochs = 0 }}
[evaluators.knn]
k = 3
[observers.mlflow]
tracking_uri = "http://127.0.0.1:{port}"
[[matrix]]
datasets = ["drawn"]
methods = ["rotnet"]
evaluators = ["knn"]
"""


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start a server that ends as the parameter says; give its process and its port."""
    command = [sys.executable, "-c", SERVER, request.param]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
        process.kill()


@pytest.mark.parametrize(
    ("server", "close_s", "reason"),
    [("killed", 30.0, "raised MlflowException: "), ("silent", 0.1, "it was still busy 0.1 s")],
    indirect=["server"],
)
def test_a_run_ends_well_without_its_tracking_server(
    server: tuple[subprocess.Popen[str], int],
    close_s: float,
    reason: str,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, port = server
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(observing, "CLOSE_S", close_s)
    Path("b.toml").write_text(BENCHMARK.format(port=port))
    done = bench("run", "b.toml", "--executor", "serial").assert_ok()
    assert (process.poll() is None) == (close_s < 1)
    (sentence,) = [line for line in done.err.splitlines() if "mlflow" in line.lower()]
    assert "observer 'mlflow': " in sentence
    assert "events were not taken; the first reason: " in sentence
    assert reason in sentence
    store = Store(Path("store"))
    planned = load("b.toml").plan(store=store.root).stages
    assert store.done() == {stage.key for stage in planned}
