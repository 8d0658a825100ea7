"""What is imported only when it is used: starting the command line must not wait for it."""

import subprocess
import sys

import pytest

HEAVY = {"scipy", "polars", "altair", "torch", "aiobotocore", "vl_convert", "rich", "sklearn"}
NUMERIC = HEAVY | {"numpy", "anyio", "orjson", "asyncio"}

CASES = [
    ("import asynctune", NUMERIC),
    ("from asynctune import UsageError", NUMERIC),
    ("from asynctune import StoppingCriterion, RetryPolicy", NUMERIC),
    ("from asynctune import Benchmark, load_benchmark", NUMERIC),
    ("from asynctune import report, checkpoint_dir, save_checkpoint", NUMERIC | {"subprocess"}),
    ("from asynctune import Script, Function", NUMERIC),
    ("from asynctune import ConfigSpace, loguniform", HEAVY | {"anyio", "asyncio"}),
    ("from asynctune import AskTell", HEAVY),
    ("from asynctune import Experiment, run_experiment", HEAVY),
    ("from asynctune import load_benchmark; load_benchmark('transformer_wikitext2')", HEAVY),
    ("from asynctune.explain import explain, explain_idle", HEAVY),
    ("from asynctune.rungtable import rung_table", HEAVY),
]


@pytest.mark.parametrize(("statement", "kept_out"), CASES, ids=[c[0] for c in CASES])
def test_nothing_heavy_is_imported(statement, kept_out):
    code = f"{statement}; import sys; print(*sys.modules, sep='\\n')"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(ran.stdout.split())
    assert "asynctune" in loaded
    assert not loaded & kept_out


def test_importing_the_package_takes_next_to_no_time():
    command = [sys.executable, "-X", "importtime", "-c", "import asynctune"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    microseconds = [
        int(line.split("|")[1])
        for line in ran.stderr.splitlines()
        if line.split("|")[-1].strip() == "asynctune"
    ]
    assert len(microseconds) == 1
    assert microseconds[0] < 300_000
