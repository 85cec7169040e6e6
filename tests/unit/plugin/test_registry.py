"""Whatever a stranger's plugin does wrong gives one clear sentence that names its distribution.

Every plugin here is a module and a ``.dist-info`` folder in a temporary place on ``sys.path``: what
an installer leaves, found by the standard library's own means.
"""

from __future__ import annotations

import copy
import itertools
import json
import textwrap
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import pytest
from tests.conftest import tiny

from backbench.benchmark.config import load_benchmark
from backbench.errors import ConfigError, PluginError
from backbench.model import PluginUse, Stage, StageKind
from backbench.plugin import API, AttackInfo
from backbench.plugin.calling import frozen
from backbench.plugin.events import RunFinished, RunStarted, StageFinished, StageProgress
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registry, load_registry

_NUMBERS = itertools.count()

HEAD = """
from backbench.plugin import *  # every name, those that need torch too
"""

GOOD = """
@hookimpl
def register_attacks():
    yield AttackInfo(name="checker", summary="A checkerboard.", target="nowhere.checker:Checker")
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a distribution: ``install("acme-checker", code)``; return its module's name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name, code, version="1.2", entry_point="checker"):
        module = f"stranger_{next(_NUMBERS)}"
        (tmp_path / f"{module}.py").write_text(HEAD + textwrap.dedent(code))
        info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        with (info / "entry_points.txt").open("a") as file:
            file.write(f"[backbench]\n{entry_point} = {module}\n")
        return module

    return install


def only_failure(registry: Registry) -> str:
    assert len(registry.failures) == 1, registry.failures
    text = str(registry.failures[0])
    assert "\n" not in text
    return text


# -- what is found ----------------------------------------------------------------------------


def test_builtins_come_by_entry_points_of_our_own_distribution():
    registry = load_registry()
    assert registry.failures == []
    assert {"patch", "moco-v2", "distill", "linear", "embedded", "serial"} <= {
        one.info.name for one in registry.all()
    }
    assert {one.origin.distribution for one in registry.all()} == {"backbench"}
    assert {one.info.kind for one in registry.all()} == set(KINDS) - {"backbone"}


def test_a_strangers_plugin_is_found_with_its_origin(install):
    install("acme-checker", GOOD)
    registry = load_registry()
    found = registry.find("attack", "checker")
    assert str(found.origin) == "acme-checker 1.2"
    assert found.origin.entry_point == "checker"
    assert registry.failures == []
    assert {"checker", "patch"} <= set(registry.names("attack"))


def test_an_entry_point_that_is_listed_twice_counts_once(install):
    install("acme-checker", GOOD)
    registry = Registry()
    points = [point for point in load_points() if point.name == "checker"]
    registry.add_entry_points(points + points)
    assert registry.failures == []
    assert registry.names("attack") == ["checker"]


def load_points():
    from importlib.metadata import entry_points

    return list(entry_points(group="backbench"))


def test_an_entry_point_without_a_distribution_is_named_all_the_same():
    registry = Registry()
    registry.add_entry_points([EntryPoint("lost", "no_such_module_at_all", "backbench")])
    assert "plugin 'lost'" in only_failure(registry)


# -- what is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import no_such_module_at_all", "cannot be loaded (ModuleNotFoundError: No module"),
        ("raise RuntimeError('two\\nlines')", "cannot be loaded (RuntimeError: two lines)"),
        ("def register_attacks(", "cannot be loaded (SyntaxError:"),
        ("raise SystemExit('this plugin needs a license')", "cannot be loaded (SystemExit: this"),
        ("raise GeneratorExit('gone')", "cannot be loaded (GeneratorExit: gone)"),
        (
            "@hookimpl\ndef register_attacks():\n    raise SystemExit(3)",
            "register_attacks raised SystemExit: 3",
        ),
        (
            "@hookimpl\ndef register_attack():\n    return []",
            "there is no hook 'register_attack': did you mean 'register_attacks'?",
        ),
        ("@hookimpl\ndef zzz():\n    pass", "there is no hook 'zzz' (there are: "),
        ("@hookimpl\ndef register_attacks(registry):\n    return []", "{'registry'}"),
        (
            "def register_attacks():\n    return []",
            "implements no hook: is @backbench.plugin.hookimpl",
        ),
        (
            "@hookimpl\ndef register_attacks():\n    1 / 0",
            "register_attacks raised ZeroDivisionError",
        ),
        ("@hookimpl\ndef register_attacks():\n    return 3", "register_attacks raised TypeError"),
        (
            "@hookimpl\ndef register_attacks():\n    while True:\n        yield 3",
            "register_attacks yields more than 10,000 items: it must end",
        ),
        (
            "@hookimpl\ndef register_attacks():\n    return ['checker']",
            "announces 'checker' where a AttackInfo is expected",
        ),
        (
            "@hookimpl\ndef register_attacks():\n    yield EvaluatorInfo(name='a', summary='A.', target='a:A')",
            "where a AttackInfo is expected",
        ),
    ],
)
def test_a_broken_plugin_is_one_sentence(install, code, sentence):
    install("acme-checker", code)
    registry = load_registry()
    text = only_failure(registry)
    assert text.startswith("plugin 'checker' of acme-checker 1.2: ")
    assert sentence in text
    assert registry.find("attack", "patch").origin.distribution == "backbench"


def test_a_plugin_that_leaves_the_current_folder_moves_no_path(install, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    install("acme-checker", "import os\nos.chdir('/')\n" + textwrap.dedent(GOOD))
    assert load_registry().failures == []
    assert Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "Checker Board"}, "'Checker Board': the name is not in kebab-case"),
        ({"name": None}, "None: name and target must be strings"),
        ({"name": "none"}, "'none': the name is reserved"),
        ({"api": API + 1}, f"was made for interface {API + 1}; this backbench has {API}"),
        ({"target": "my_package.Checker"}, "target 'my_package.Checker' is not 'module:Class'"),
        ({"options": dict}, "options must be a subclass of backbench.plugin.Options"),
        ({"summary": None}, "summary is None, and must be of type str"),
        ({"revision": "2"}, "revision is '2', and must be of type int"),
        ({"revision": True}, "revision is True, and must be of type int"),
        ({"presets": ["a"]}, "presets is ['a'], and must be of type Mapping"),
        ({"presets": {"a": 1}}, "each preset must be a mapping of option values"),
        ({"paper": "Saha"}, "paper is 'Saha', and must be of type Citation or NoneType"),
    ],
)
def test_a_broken_record_is_one_sentence(install, change, sentence):
    fields = {"name": "checker", "summary": "A checkerboard.", "target": "a.b:C"} | change
    given = ", ".join(
        f"{key}={value.__name__ if isinstance(value, type) else repr(value)}"
        for key, value in fields.items()
    )
    install(
        "acme-checker",
        f"""
        @hookimpl
        def register_attacks():
            yield AttackInfo({given})
            yield AttackInfo(name="fine", summary="Fine.", target="a.b:C")
        """,
    )
    registry = load_registry()
    assert only_failure(registry).startswith("plugin 'checker' of acme-checker 1.2: ")
    assert sentence in only_failure(registry)
    assert {"fine", "patch"} <= set(registry.names("attack"))
    assert fields["name"] not in registry.names("attack")


def test_a_defense_acts_on_something_that_there_is(install):
    install(
        "acme-checker",
        """
        @hookimpl
        def register_defenses():
            yield DefenseInfo(name="d", summary="D.", target="a:A", acts_on="images")
        """,
    )
    text = only_failure(load_registry())
    assert "'d': acts_on is 'images', and must be 'training' or 'dataset' or 'model'" in text


def test_only_a_defense_on_the_input_learns_in_a_stage_of_its_own(install):
    install(
        "acme-checker",
        """
        @hookimpl
        def register_defenses():
            yield DefenseInfo(name="d", summary="D.", target="a:A", acts_on="dataset", learns=True)
        """,
    )
    text = only_failure(load_registry())
    assert "'d': learns is True, and only a defense on the input has a fit of its own" in text


@pytest.mark.parametrize(
    ("hook", "record", "sentence"),
    [
        (
            "evaluators",
            "EvaluatorInfo({}, reads='all')",
            "reads is 'all', and must be 'features' or",
        ),
        (
            "metrics",
            "MetricInfo({}, best='up')",
            "best is 'up', and must be None or 'high' or 'low'",
        ),
        ("metrics", "MetricInfo({}, bounds='ab')", "bounds is 'ab', and must be of type tuple"),
        ("metrics", "MetricInfo({}, bounds=(1, 0))", "bounds is (1, 0), and must be two rising"),
        (
            "metrics",
            "MetricInfo({}, bounds=(1, 'a'))",
            "bounds is (1, 'a'), and must be two rising",
        ),
        (
            "metrics",
            "MetricInfo({}, reads='images')",
            "reads is 'images', and must be 'predictions'",
        ),
        ("metrics", "MetricInfo({}, usual=3)", "usual is 3, and must be True or False"),
        ("metrics", "MetricInfo({}, decimals=None)", "decimals is None, and must be of type int"),
        ("ssl_methods", "SSLMethodInfo({}, passes=1.5)", "passes is 1.5, and must be of type int"),
    ],
)
def test_a_field_of_a_record_is_what_it_must_be(install, hook, record, sentence):
    fields = "name='a', summary='A.', target='a:A'"
    code = f"@hookimpl\ndef register_{hook}():\n    yield {record.format(fields)}"
    install("acme-checker", code)
    assert sentence in only_failure(load_registry())


@pytest.mark.parametrize("column", ["3", "Column('x', None)", "Column('x', 'X', decimals='a')"])
def test_a_column_that_cannot_be_shown_is_named(install, column):
    install("acme-checker", f"@hookimpl\ndef leaderboard_columns():\n    yield {column}")
    registry = load_registry()
    assert registry.columns() == []
    assert "announces the column" in only_failure(registry)


def test_options_without_a_schema_leave_the_schema_of_others(install, bench):
    install(
        "acme-checker",
        """
        import typing

        class Calls(Options):
            call: "typing.Callable" = Field(print, description="what to call")

        @hookimpl
        def register_attacks():
            yield AttackInfo(name="checker", summary="C.", target="a:A", options=Calls)
        """,
    )
    done = bench("schema").assert_ok()
    assert "patch" in str(json.loads(done.out)["properties"]["attacks"])
    assert "warning: the JSON Schema of attack 'checker' of acme-checker 1.2 raised" in done.err
    (checker,) = [
        one
        for one in json.loads(bench("plugins", "--format", "json").assert_ok().out)
        if one["name"] == "checker"
    ]
    assert checker["options"] is None


def test_one_module_under_two_entry_points_is_refused_once(install, tmp_path):
    module = install("acme-checker", GOOD)
    with (tmp_path / "acme_checker-1.2.dist-info" / "entry_points.txt").open("a") as file:
        file.write(f"second = {module}\n")
    registry = load_registry()
    text = only_failure(registry)
    assert "is the same object as 'acme-checker:checker'" in text
    assert {"checker", "patch"} <= set(registry.names("attack"))


def test_a_name_that_two_distributions_claim_names_both(install):
    install("acme-checker", GOOD)
    install("zenith-checker", GOOD, version="3.0")
    registry = load_registry()
    text = only_failure(registry)
    assert text.startswith("plugin 'checker' of zenith-checker 3.0: ")
    assert "attack 'checker' is already provided by acme-checker 1.2" in text
    with pytest.raises(PluginError, match=r"by acme-checker 1\.2 and zenith-checker 3\.0"):
        registry.find("attack", "checker")


def test_a_builtins_name_cannot_be_taken(install):
    install("acme-checker", GOOD.replace('"checker"', '"patch"'))
    with pytest.raises(PluginError, match=r"provided twice, by acme-checker 1\.2 and backbench"):
        load_registry().find("attack", "patch")


def test_an_unknown_name_gives_the_nearest_and_what_is_broken(install):
    install("acme-checker", "import no_such_module_at_all")
    with pytest.raises(PluginError) as caught:
        load_registry().find("attack", "pach")
    text = str(caught.value)
    assert "no attack is called 'pach': did you mean 'patch'?" in text
    assert "acme-checker 1.2" in text


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_such_module_at_all:Checker", "ModuleNotFoundError"),
        ("backbench.model:NoSuchClass", "AttributeError"),
        ("backbench.model:NONE", "is not a class"),
    ],
)
def test_a_target_that_is_not_there_is_one_sentence(install, target, reason):
    install("acme-checker", GOOD.replace("nowhere.checker:Checker", target))
    found = load_registry().find("attack", "checker")
    with pytest.raises(PluginError, match=r"attack 'checker' of acme-checker 1\.2") as caught:
        found.implementation()
    assert target in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"entry_points.txt": b"[backbench]\nfoo = gone\n"}, "METADATA lacks its name"),
        ({"entry_points.txt": b"[backbench]\nfoo = wr\xe9n\n"}, "UnicodeDecodeError"),
        (
            {"entry_points.txt": b"[backbench]\nfoo = gone\n", "METADATA": b"Name: wr\xe9n\n"},
            "UnicodeDecodeError",
        ),
        (
            {"entry_points.txt": b"[backbench]\nfoo\n", "METADATA": b"Name: foo\nVersion: 1\n"},
            "TypeError",
        ),
    ],
)
def test_a_damaged_distribution_is_passed_over_and_named(tmp_path, monkeypatch, files, reason):
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "broken-1.0.dist-info"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    registry = load_registry()
    text = only_failure(registry)
    assert text.startswith(f"{folder}: ")
    assert reason in text
    assert text.endswith("passed over; reinstall or remove it")
    assert registry.find("attack", "patch").origin.distribution == "backbench"


# -- what plugins print -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    ["print('hi')", "import os; os.write(1, b'hi')", "import sys; sys.__stdout__.write('hi')"],
)
def test_what_a_plugin_prints_goes_to_stderr(install, capfd, code):
    hook = textwrap.indent(code, "    ")
    install("acme-checker", f"{code}\n@hookimpl\ndef register_attacks():\n{hook}\n    return []")
    assert load_registry().failures == []
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.count("hi") == 2


def test_the_schema_is_json_whatever_a_plugin_prints(install, bench):
    install("acme-checker", "print('hi')\n" + textwrap.dedent(GOOD))
    assert json.loads(bench("schema").assert_ok().out)


# -- what is broken and not needed ------------------------------------------------------------


def test_a_broken_plugin_that_is_not_used_only_warns(install, bench, tiny_file):
    install("acme-checker", "import no_such_module_at_all")
    done = bench("check").assert_ok()
    assert "no problem" in done.out
    assert done.err.startswith("warning: plugin 'checker' of acme-checker 1.2: cannot be loaded")
    assert len(done.err.splitlines()) == 1


def test_a_broken_plugin_that_is_used_is_a_problem_with_its_reason(install, tiny_file):
    install("acme-checker", "import no_such_module_at_all")
    tiny_file.write_text(tiny().replace('plugin = "patch"', 'plugin = "checker"'))
    with pytest.raises(ConfigError) as caught:
        load_benchmark(tiny_file, load_registry())
    (problem,) = caught.value.problems
    assert problem.path == "attacks.targeted.plugin"
    assert "no attack is called 'checker'" in problem.message
    assert "acme-checker 1.2: cannot be loaded (ModuleNotFoundError" in problem.message


def test_plugins_lists_the_rest_and_ends_with_exit_code_2(install, bench):
    install("acme-checker", "import no_such_module_at_all")
    done = bench("plugins")
    assert done.code == 2
    assert "moco-v2" in done.out
    assert "acme-checker 1.2" in done.err


# -- observers, columns, commands -------------------------------------------------------------

OBSERVER = """
seen = []

@hookimpl
def run_started(event):
    seen.append(event)
    raise RuntimeError("no space left")

@hookimpl
def run_finished():
    seen.append("finished")
"""


def test_an_observer_that_raises_is_reported_once_and_goes_no_further(install):
    import importlib

    first = install("acme-checker", OBSERVER)
    second = install("zenith-checker", OBSERVER.replace('raise RuntimeError("no space left")', ""))
    registry = load_registry()
    event = RunStarted("b", (), 0, 1)
    registry.emit("run_started", event)
    registry.emit("run_started", event)
    registry.emit("run_finished", RunFinished(1, 0, 0, 0.0))
    for module in (first, second):
        assert importlib.import_module(module).seen == [event, event, "finished"]
    text = only_failure(registry)
    assert "acme-checker 1.2: run_started raised RuntimeError: no space left" in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit(1)", "stage_finished raised SystemExit: 1"),
        ("raise asyncio.CancelledError('c')", "stage_finished raised CancelledError: c"),
        ("raise Mute", "stage_finished raised Mute"),
        ("event.stage.inputs['a'] = 'b'", "raised TypeError: this dict is read-only"),
        ("event.stage.plugin.options['views'].clear()", "raised TypeError: this dict is read-only"),
        ("event.stage.plugin.options['widths'].append(3)", "raised AttributeError: 'tuple'"),
        ("event.stage.seed = 3", "raised FrozenInstanceError"),
    ],
)
def test_an_observer_can_neither_end_a_run_nor_change_what_others_see(install, body, reason):
    install(
        "acme-checker",
        f"""
        import asyncio, sys

        class Mute(BaseException):
            def __str__(self):
                raise ValueError

        @hookimpl
        def stage_finished(event):
            {body}
        """,
    )
    install("zenith", OBSERVER.replace("run_finished()", "stage_finished(event)"))
    options = {"views": {"size": 32}, "widths": [1, 2]}
    use = PluginUse("ssl-method", "m", "d", 1, options, options)
    event = StageFinished(Stage(StageKind.PRETRAIN, use, 0, inputs={"dataset": "0"}), 1.0)
    before = copy.deepcopy(event)
    registry = load_registry()
    registry.emit("stage_finished", event)
    registry.emit("stage_finished", event)
    assert event == before
    assert reason in only_failure(registry)


def test_an_event_is_written_as_json_and_copied_like_any_other():
    shown = frozen(StageProgress(Stage(StageKind.FIT, None, 0, inputs={"a": "b"}), 1, 2, {"x": 1}))
    assert json.loads(json.dumps(shown.values)) == {"x": 1}
    assert asdict(shown)["stage"]["inputs"] == {"a": "b"}
    writable = copy.deepcopy(shown.values)
    writable["x"] = 2
    assert shown.values == {"x": 1}
    for change in (shown.values.update, shown.values.setdefault, shown.values.__ior__):
        with pytest.raises(TypeError, match="read-only"):
            change({"x": 3})


def test_an_executor_that_cannot_be_made_is_named(install, bench, tiny_file):
    install(
        "acme-checker",
        """
        class Breaks:
            def __init__(self, *_):
                raise KeyError("queue")

        @hookimpl
        def register_executors():
            yield ExecutorInfo(name="breaks", summary="B.", target=f"{__name__}:Breaks")
        """,
    )
    done = bench("run", str(tiny_file), "--executor", "breaks")
    assert done.code == 2
    assert "executor 'breaks' of acme-checker 1.2 raised KeyError: 'queue'" in done.err
    assert "Traceback" not in done.err


def test_columns_and_commands_of_a_broken_plugin_do_not_stop_those_of_others(install):
    code = """
    import click

    @hookimpl
    def leaderboard_columns():
        yield Column("asr/top5", "ASR 5", best="low")

    @hookimpl
    def add_commands(cli):
        cli.add_command(click.Command("hello"))
    """
    install("acme-checker", code.replace("Column(", "int(").replace("click.Command", "int"))
    install("zenith-checker", code)
    registry = load_registry()
    cli = click.Group()
    registry.add_commands(cli)
    assert [column.title for column in registry.columns()] == ["ASR 5"]
    assert list(cli.commands) == ["hello"]
    assert {failure.origin.distribution for failure in registry.failures} == {"acme-checker"}
    assert len(registry.failures) == 2


def test_a_record_says_its_kind():
    info = AttackInfo(name="a", summary="A.", target="a:A")
    assert (info.kind, info.api, info.revision) == ("attack", API, 1)
