"""Plugins are found with their origin; names that are unknown or taken, and what plugins print."""

from __future__ import annotations

import json
import textwrap
from importlib.metadata import EntryPoint

import pytest
from tests.conftest import tiny
from tests.unit.plugin.conftest import GOOD, only_failure

from backbench.benchmark.config import load_benchmark
from backbench.errors import ConfigError, PluginError
from backbench.plugin import API, AttackInfo
from backbench.plugin.infos import KINDS
from backbench.plugin.registry import Registry, load_registry

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


def test_a_record_says_its_kind():
    info = AttackInfo(name="a", summary="A.", target="a:A")
    assert (info.kind, info.api, info.revision) == ("attack", API, 1)


# -- what is named ----------------------------------------------------------------------------


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
