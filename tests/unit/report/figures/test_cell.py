"""Figures of a cell: all of a store, those of predictions and scores of a bundle."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from backbench import Planned, load
from backbench.report.figures.cell import cell_figures
from backbench.report.figures.figure import Figure, Missing
from backbench.report.figures.maps import NO_TSNE
from backbench.report.figures.opened import Opened
from backbench.report.figures.stored import stored_files
from backbench.report.figures.whole_table import table_figures
from backbench.store.store import Store
from backbench.verification.bundle import open_bundle
from backbench.verification.exporting import export_bundle
from tests.conftest import tiny

SMALL = (
    tiny()
    .replace('methods = ["moco-v2", "rotnet"]', 'methods = ["rotnet"]')
    .replace('defenses = ["none", "distill"]', 'defenses = ["none"]')
    .replace('evaluators = ["linear", "knn"]', 'evaluators = ["knn"]')
    .replace("epochs = 2", "epochs = 1")
)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    """Return a small plan whose store is finished."""
    folder = tmp_path_factory.mktemp("figures")
    (folder / "benchmarks.toml").write_text(SMALL, encoding="utf-8")
    found = load(folder / "benchmarks.toml").plan(store=folder / "store")
    found.run(executor="serial")
    return found


def of_store(planned: Planned, store: Path | None = None) -> Opened:
    where = planned.store if store is None else Store(store)
    return Opened.of_store(planned.experiment.registry, planned.plan, where)


def test_an_attacked_cell_has_all_figures(planned: Planned) -> None:
    opened = of_store(planned)
    found = list(cell_figures(opened, planned.cells[1]))
    reasons = [one.reason for one in found if isinstance(one, Missing)]
    assert reasons == ([] if find_spec("sklearn") else [NO_TSNE])
    names = [one.name for one in found if isinstance(one, Figure)]
    assert names == [
        "trigger",
        "poisons",
        "views",
        "training-curves",
        "feature-map",
        *(["feature-map-tsne"] if find_spec("sklearn") else []),
        "neighbors",
        "saliency",
        "confusion-clean",
        "confusion-triggered",
        "false-positives",
    ]
    again = next(cell_figures(opened, planned.cells[1]))
    assert again is found[0], "a figure that cells share is drawn once"


def test_a_bundle_has_what_predictions_show_and_reasons_for_the_rest(
    planned: Planned, tmp_path: Path
) -> None:
    source = Path(planned.experiment.benchmark.source)
    export_bundle(planned.plan, planned.store, source, tmp_path / "bundle.zip")
    with open_bundle(tmp_path / "bundle.zip") as bundle:
        opened = Opened.of_bundle(planned.experiment.registry, bundle)
        found = list(cell_figures(opened, bundle.plan.cells[1]))
    names = [one.name for one in found if isinstance(one, Figure)]
    assert names == ["confusion-clean", "confusion-triggered", "false-positives"]
    missing = [one for one in found if isinstance(one, Missing)]
    assert len(missing) == 7
    assert all(one.reason.endswith(".") for one in missing)


def test_an_empty_store_has_a_reason_for_each_figure(planned: Planned, tmp_path: Path) -> None:
    opened = of_store(planned, tmp_path / "empty")
    found = list(cell_figures(opened, planned.cells[1]))
    assert found
    assert all(isinstance(one, Missing) and one.reason.endswith(".") for one in found)


def test_a_table_has_its_intervals(planned: Planned) -> None:
    figures = table_figures(of_store(planned), planned.results().board)
    assert [one.name for one in figures] == ["intervals-asr", "intervals-accuracy-clean"]


def test_trackers_get_each_file_once_and_no_encoder_runs_for_them(planned: Planned) -> None:
    files = stored_files(of_store(planned), planned.results().board)
    assert all(content.startswith(b"<svg") for content in files.values())
    assert len(set(files.values())) == len(files)
    assert "intervals-asr.svg" in files
    ends = [name.partition(".")[2] for name in files if name.startswith("drawn-rotnet-targeted")]
    assert ends == [
        "trigger.svg",
        "poisons.svg",
        "training-curves.svg",
        "confusion-clean.svg",
        "confusion-triggered.svg",
        "false-positives.svg",
    ]
