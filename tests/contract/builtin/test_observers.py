"""The conformance kit over every built-in observer, and what its tracker can read."""

# ruff: noqa: RUF012 - options are written as a plugin author writes them

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from backbench.testing import NamedObserverContract
from tests.contract.builtin.shared import needs, record


@needs("tensorboard")
@pytest.mark.filterwarnings("ignore")
class TestTensorBoard(NamedObserverContract):
    info = record("observer", "tensorboard")

    def test_its_files_hold_the_curves_and_the_numbers(self, tmp_path: Path) -> None:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray

        self.observe(tmp_path)
        found = {}
        for path in tmp_path.glob("runs/a-benchmark/*/*/events.*"):
            events = EventAccumulator(str(path)).Reload()
            for tag in events.Tags()["tensors"]:
                (event,) = events.Tensors(tag)
                found[path.parent.name, tag] = event.step, make_ndarray(event.tensor_proto).item()
        stage = "pretrain a-method on a-dataset, seed 0"
        assert found == {
            (stage, "loss"): (5, 1.5),
            (stage, "lr"): (5, pytest.approx(0.1)),
            ("results", "accuracy/clean/a-method"): (0, 0.5),
            ("results", "leaderboard"): (0, b"| a |"),
        }
        (figure,) = tmp_path.glob("runs/a-benchmark/*/results/figures/*")
        assert (figure.name, figure.read_bytes()[:4]) == ("square.svg", b"<svg")


@needs("wandb")
@pytest.mark.filterwarnings("ignore")
class TestWandb(NamedObserverContract):
    info = record("observer", "wandb")
    options = {"mode": "offline"}

    def test_the_run_is_kept_on_disk(self, tmp_path: Path) -> None:
        self.observe(tmp_path)
        (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
        content = path.read_bytes()
        until = time.monotonic() + 20
        while b"accuracy/clean/a-method" not in content and time.monotonic() < until:
            time.sleep(0.05)  # a process of wandb's own writes the file
            content = path.read_bytes()
        assert b"pretrain a-method on a-dataset, seed 0/loss" in content
        assert b"accuracy/clean/a-method" in content


@needs("mlflow")
@pytest.mark.filterwarnings("ignore")
class TestMLflow(NamedObserverContract):
    info = record("observer", "mlflow")

    @pytest.fixture(autouse=True, scope="class")
    def _one_store(self, request: Any, tmp_path_factory: Any) -> None:
        """Make the tables once: that takes seconds."""
        path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
        request.cls.options = {"tracking_uri": f"sqlite:///{path}"}

    def test_the_numbers_can_be_read(self, tmp_path: Path) -> None:
        from mlflow import MlflowClient

        self.observe(tmp_path)
        client = MlflowClient(self.options["tracking_uri"])
        experiment = client.get_experiment_by_name("a-benchmark").experiment_id
        runs = client.search_runs([experiment])
        stages = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        trained = next(run for run in stages if "loss" in run.data.metrics)
        failed = next(run for run in stages if "failed" in run.data.tags)
        assert failed.data.tags["failed"] == "the disk is full"
        (point,) = client.get_metric_history(trained.info.run_id, "loss")
        assert (point.step, point.value) == (5, 1.5)
        whole = client.get_run(trained.data.tags["mlflow.parentRunId"])
        assert whole.data.metrics["accuracy/clean/a-method"] == 0.5
        assert whole.info.status == "KILLED"  # the kit's run is interrupted
        artifacts = {one.path for one in client.list_artifacts(whole.info.run_id)}
        assert artifacts == {"leaderboard.md", "leaderboard.csv", "square.svg"}
