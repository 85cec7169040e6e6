"""The hooks, in the order in which a run calls them.

A hook announces plugins, or receives an event. Behavior lives in the base classes of
:mod:`backbench.plugin`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import click

    from backbench.plugin import events, infos

hookspec = pluggy.HookspecMarker("backbench")


class BackbenchHooks:
    """All hooks. Implement any of them in the module that your entry point names.

    Each example can be pasted into that module. The class that its ``target`` names is the example
    of the base class.
    """

    # -- registration: what exists ---------------------------------------------------------

    @hookspec
    def register_datasets(self) -> Iterable[infos.DatasetInfo]:
        """Announce datasets: a record for each :class:`~backbench.plugin.Dataset`.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import DatasetInfo, Field, Options, hookimpl

            class StripesOptions(Options):
                images: int = Field(500, ge=2, description="training images of each class")

            @hookimpl
            def register_datasets():
                yield DatasetInfo(
                    name="stripes",
                    summary="Horizontal and vertical stripes.",
                    target="my_plugin.stripes:Stripes",
                    options=StripesOptions,
                )
        """
        yield from ()

    @hookspec
    def register_attacks(self) -> Iterable[infos.AttackInfo]:
        """Announce attacks: a record for each :class:`~backbench.plugin.Attack`.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import AttackInfo, Field, Options, hookimpl

            class CornerOptions(Options):
                target: str = Field(description="class that the trigger stands for")
                rate: float = Field(0.5, gt=0, le=1, description="poisoned share of that class")

                def problems(self, data):
                    if self.target not in data.classes:
                        yield f"target: there is no class {self.target!r}"

            class PullOptions(CornerOptions):
                lr: float = Field(0.01, gt=0, description="learning rate of SGD")

            @hookimpl
            def register_attacks():
                yield AttackInfo(
                    name="corner",
                    summary="A red square in the top-left corner.",
                    target="my_plugin.corner:Corner",
                    options=CornerOptions,
                )
                yield AttackInfo(
                    name="beside",
                    summary="A red square, and an image of the target class beside it.",
                    target="my_plugin.beside:Beside",
                    options=CornerOptions,
                )
                yield AttackInfo(
                    name="pull",
                    summary="Pulls the features of images with a red square to a reference.",
                    target="my_plugin.pull:Pull",
                    options=PullOptions,
                    acts_on="encoder",
                )
                yield AttackInfo(
                    name="negative",
                    summary="Mixes the learned negative of a reference into every image.",
                    target="my_plugin.negative:Negative",
                    options=CornerOptions,
                    learns=True,
                )
        """
        yield from ()

    @hookspec
    def register_backbones(self) -> Iterable[infos.BackboneInfo]:
        """Announce backbones: a record for each :class:`~backbench.plugin.BackboneNetwork`.

        A benchmark file names it as it does the built-in ones, and gives it its options:
        ``backbone = { name = "mixer", arguments = { width = 64 } }``.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import BackboneInfo, Field, Options, hookimpl

            class MixerOptions(Options):
                width: int = Field(32, ge=1, description="number of features")
                patch: int = Field(4, ge=1, description="side of a patch, px")

            @hookimpl
            def register_backbones():
                yield BackboneInfo(
                    name="mixer",
                    summary="Patches, a batch norm, and one convolution over them.",
                    target="my_plugin.mixer:Mixer",
                    options=MixerOptions,
                )
        """
        yield from ()

    @hookspec
    def register_ssl_methods(self) -> Iterable[infos.SSLMethodInfo]:
        """Announce SSL methods: a record for each :class:`~backbench.plugin.SSLMethod`.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import Citation, Field, SSLMethodInfo, hookimpl
            from backbench.plugin import SSLOptions, ViewTrainingOptions

            class SimCLROptions(SSLOptions, ViewTrainingOptions):
                temperature: float = Field(0.5, gt=0, description="divides the similarities")

            @hookimpl
            def register_ssl_methods():
                yield SSLMethodInfo(
                    name="my-simclr",
                    summary="Contrasts the two views of an image with those of the others.",
                    target="my_plugin.simclr:SimCLR",
                    options=SimCLROptions,
                    passes=2,  # two views of each image go through one network
                    paper=Citation(
                        authors="Chen, Kornblith, Norouzi and Hinton",
                        title="A simple framework for contrastive learning",
                        venue="ICML",
                        year=2020,
                    ),
                )
        """
        yield from ()

    @hookspec
    def register_defenses(self) -> Iterable[infos.DefenseInfo]:
        """Announce defenses: a record for each :class:`~backbench.plugin.Defense`.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import DefenseInfo, Field, Options, hookimpl

            class ShareOptions(Options):
                share: float = Field(0.1, gt=0, lt=1, description="share that is removed")

            @hookimpl
            def register_defenses():
                yield DefenseInfo(
                    name="prune",
                    summary="Sets the smallest weights of each convolution to zero.",
                    target="my_plugin.prune:Prune",
                    options=ShareOptions,
                    acts_on="encoder",
                )
                yield DefenseInfo(
                    name="outliers",
                    summary="Drops the images whose features are farthest from the mean.",
                    target="my_plugin.outliers:Outliers",
                    options=ShareOptions,
                    acts_on="dataset",
                )
                yield DefenseInfo(
                    name="far",
                    summary="Rejects images whose features are far from the mean of clean images.",
                    target="my_plugin.far:Far",
                    options=ShareOptions,
                    acts_on="input",
                    learns=True,
                )
                yield DefenseInfo(
                    name="spread",
                    summary="Accuses an encoder whose variance is mostly that of one feature.",
                    target="my_plugin.spread:Spread",
                    options=ShareOptions,
                    acts_on="model",
                )
                yield DefenseInfo(
                    name="shuffle",
                    summary="Trains with the color channels in another order every epoch.",
                    target="my_plugin.shuffle:Shuffle",
                    acts_on="training",
                )
        """
        yield from ()

    @hookspec
    def register_evaluators(self) -> Iterable[infos.EvaluatorInfo]:
        """Announce evaluators.

        A record is for an :class:`~backbench.plugin.Evaluator` or an
        :class:`~backbench.plugin.ImageEvaluator`.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import EvaluatorInfo, hookimpl

            @hookimpl
            def register_evaluators():
                yield EvaluatorInfo(
                    name="centroids",
                    summary="Predicts the class whose mean feature is nearest.",
                    target="my_plugin.centroids:Centroids",
                )
                yield EvaluatorInfo(
                    name="exact-nearest",
                    summary="Predicts the class of the nearest training image, in float32.",
                    target="my_plugin.exact:ExactNearest",
                    reads="images",
                )
        """
        yield from ()

    @hookspec
    def register_executors(self) -> Iterable[infos.ExecutorInfo]:
        """Announce executors, each an :class:`~backbench.plugin.Executor`: ``--executor NAME``.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import ExecutorInfo, hookimpl

            @hookimpl
            def register_executors():
                yield ExecutorInfo(
                    name="thread",
                    summary="One stage at a time, in a thread of this process.",
                    target="my_plugin.thread:ThreadExecutor",
                )
        """
        yield from ()

    @hookspec
    def register_observers(self) -> Iterable[infos.ObserverInfo]:
        """Announce observers, each an :class:`~backbench.plugin.Observer`: ``--observe NAME``.

        A run imports those that it names, and no other.

        Example::

            # my_plugin/__init__.py
            from pathlib import Path

            from backbench.plugin import Field, ObserverInfo, Options, hookimpl

            class JournalOptions(Options):
                path: Path = Field(Path("journal.csv"), description="file that takes the lines")

            @hookimpl
            def register_observers():
                yield ObserverInfo(
                    name="journal",
                    summary="Appends losses and results to a file.",
                    target="my_plugin.journal:Journal",
                    options=JournalOptions,
                )
        """
        yield from ()

    @hookspec
    def register_metrics(self) -> Iterable[infos.MetricInfo]:
        """Announce metrics: a record for each function of stored predictions.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import MetricInfo, hookimpl

            @hookimpl
            def register_metrics():
                yield MetricInfo(
                    name="lost",
                    summary="Share of the images that are recognized only without the trigger.",
                    target="my_plugin.lost:lost",
                    title="Lost",
                    best="low",
                    control=True,
                    bounds=(0.0, 1.0),
                )

            # my_plugin/lost.py
            def lost(labels, clean, triggered, target, classes):
                if triggered is None:
                    return None  # there is no attack
                return float(((clean == labels) & (triggered != labels)).mean())
        """
        yield from ()

    @hookspec
    def leaderboard_columns(self) -> Iterable[infos.Column]:
        """Add columns to the leaderboard, in this order, for metrics that evaluation records carry.

        Example::

            # my_plugin/__init__.py
            from backbench.plugin import Column, hookimpl

            @hookimpl
            def leaderboard_columns():
                yield Column("target_tp/triggered", "TP", decimals=0, control=True)
        """
        yield from ()

    @hookspec
    def add_commands(self, cli: click.Group) -> None:
        """Add commands to the root group of ``backbench``.

        Example::

            # my_plugin/__init__.py
            from pathlib import Path

            import click
            from backbench.plugin import hookimpl

            @hookimpl
            def add_commands(cli):
                @cli.command("size", help="Print the size of a store in bytes.")
                @click.argument("store", type=click.Path(exists=True, path_type=Path))
                def size(store):
                    click.echo(sum(path.stat().st_size for path in store.rglob("*")))
        """

    # -- events: what has happened; an exception of an observer is reported and stops nothing --

    @hookspec
    def run_started(self, event: events.RunStarted) -> None:
        """Observe that a run is about to execute its stages.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def run_started(event):
                log = logging.getLogger("my_plugin")
                log.warning("%s: %d stages", event.benchmark, len(event.stages))
        """

    @hookspec
    def stage_started(self, event: events.StageStarted) -> None:
        """Observe that a worker has begun a stage.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def stage_started(event):
                logging.getLogger("my_plugin").warning("%s began", event.stage.label)
        """

    @hookspec
    def stage_progress(self, event: events.StageProgress) -> None:
        """Observe how far a stage is.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def stage_progress(event):
                if "loss" in event.values:
                    log = logging.getLogger("my_plugin")
                    log.warning("%s: loss %.3f", event.stage.label, event.values["loss"])
        """

    @hookspec
    def stage_finished(self, event: events.StageFinished) -> None:
        """Observe that a stage's artifact and record are in the store.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def stage_finished(event):
                log = logging.getLogger("my_plugin")
                log.warning("%s took %.1f s", event.stage.label, event.wall_s)
        """

    @hookspec
    def stage_failed(self, event: events.StageFailed) -> None:
        """Observe that a stage failed.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def stage_failed(event):
                logging.getLogger("my_plugin").error("%s: %s", event.stage.label, event.reason)
        """

    @hookspec
    def run_finished(self, event: events.RunFinished) -> None:
        """Observe that a run is over.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def run_finished(event):
                log = logging.getLogger("my_plugin")
                log.warning("%d executed, %d failed", event.executed, event.failed)
        """

    @hookspec
    def results_ready(self, event: events.ResultsReady) -> None:
        """Observe the results of a run, after its end.

        Example::

            # my_plugin/__init__.py
            import logging
            from backbench.plugin import hookimpl

            @hookimpl
            def results_ready(event):
                log = logging.getLogger("my_plugin")
                log.warning("%d numbers", len(event.records))
        """
