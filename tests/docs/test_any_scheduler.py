"""The scripts of the page on schedulers run, with a backbench, an ssh and a kubectl that pretend."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.pages import HOW_TO

PAGE = (HOW_TO / "any-scheduler.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="there is no shell")

#: Words that a shell would obey.
WORDS = ["run", "it's $a #b.toml", "--set=x=\"a 'b' `c` $(d)\"", "--store", "s t", "--stage", "0f"]


def script(folder: Path, name: str) -> Path:
    """Write a script of the page, by the name in its first lines."""
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        if re.search(rf"^# {re.escape(name)}:", block, re.MULTILINE):
            return program(folder / name, block)
    raise AssertionError(f"the page has no {name}")


def program(path: Path, text: str) -> Path:
    path.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}", encoding="utf-8")
    path.chmod(0o755)
    return path


def run(folder: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{folder}:{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_words_arrive_on_another_machine_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    folder.mkdir()
    program(folder / "ssh", '[ "$1" = a ] || [ "$1" = b ] || exit 9\ncd / && exec sh -c "$2"')
    program(folder / "backbench", 'pwd; printf "%s\\n" "$@"; exit 4')
    done = run(folder, script(folder, "anywhere.sh"), *WORDS, HOSTS="a b")
    assert done.returncode == 4, done.stderr
    assert done.stdout.splitlines() == [str(folder), *WORDS]


#: Stages by name, the inputs of each; a run of one ends with code 4 if an input is missing.
GRAPH = """
case "$1" in
plan) python3 -c '
import json, pathlib
stages = [dict(key=one, cached=pathlib.Path(one).exists()) for one in ("leaf", "middle", "root")]
print(json.dumps(dict(stages=stages)))' ;;
run) echo "$3" >> tried
  case "$3" in leaf) input=middle ;; middle) input=root ;; root) input=. ;; esac
  [ -e $input ] || exit 4
  [ "$3" != "$BROKEN" ] || exit 1
  : > "$3" ;;
esac
"""


def test_the_loop_ends_when_all_stages_are_there_or_one_has_failed(tmp_path: Path) -> None:
    program(tmp_path / "backbench", GRAPH)
    loop = script(tmp_path, "loop.sh")
    failed = run(tmp_path, loop, PAUSE="0", BROKEN="middle")
    assert failed.returncode == 1
    assert (tmp_path / "root").exists()
    (tmp_path / "tried").unlink()
    done = run(tmp_path, loop, PAUSE="0")
    assert done.returncode == 0, done.stderr
    tried = (tmp_path / "tried").read_text().split()
    assert tried == ["leaf", "middle", "leaf"]


KUBECTL = """
echo "$@" >> calls
case "$1" in
create) cat > manifest ;;
wait) case "$*" in *condition=$OUTCOME*) exit 0 ;; *) exit 1 ;; esac ;;
esac
"""


@pytest.mark.parametrize(("outcome", "code"), [("complete", 0), ("failed", 1)])
def test_a_job_gets_the_words_and_is_waited_for(tmp_path: Path, outcome: str, code: int) -> None:
    program(tmp_path / "kubectl", KUBECTL)
    done = run(tmp_path, script(tmp_path, "as-job.sh"), *WORDS, OUTCOME=outcome)
    assert done.returncode == code, done.stderr
    manifest = (tmp_path / "manifest").read_text()
    (words,) = re.findall(r"^ +args: (.*)$", manifest, re.MULTILINE)
    assert json.loads(words) == WORDS
    assert 'name: "stage-0f"' in manifest
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[:2] == ["delete job stage-0f --ignore-not-found", "create -f -"]


def test_the_snakefile_asks_for_what_the_plan_has(tmp_path: Path, bench, tiny_file: Path) -> None:
    """Its Python part runs; snakemake itself is not installed for the tests."""
    (block,) = re.findall(r"```python\n# Snakefile(.*?)```", PAGE, re.DOTALL)
    plan = json.loads(bench("plan", str(tiny_file), "--format", "json").assert_ok().out)
    assert plan["command"] == ["backbench", "run", str(tiny_file), "--store", "store"]
    for name in set(re.findall(r'\["(\w+)"\]', block)) - {"command", "stages"}:
        assert all(name in one for one in plan["stages"]), name
    assert {"command", "stages"} <= plan.keys()
