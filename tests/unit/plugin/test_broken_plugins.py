"""Whatever a stranger's plugin does wrong gives one clear sentence that names its distribution."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from tests.unit.plugin.conftest import GOOD, only_failure

from backbench.errors import PluginError
from backbench.plugin import API
from backbench.plugin.registry import load_registry


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
