"""Which devices trials have: found, allowed, divided, and free of what ran on them last."""

import json
import stat

import anyio
import functions
import pytest
from trials import run, script

from asynctune import opening, tune, uniform
from asynctune.backends.local import resources
from asynctune.backends.local.gpus import read_gpus
from asynctune.backends.local.resources import make_placement
from asynctune.exceptions import UsageError

FREE = 80_000
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Smi:
    """A fake `nvidia-smi` that tells what is in a file."""

    def __init__(self, folder):
        self._told = folder / "told"
        program = folder / "nvidia-smi"
        program.write_text(f'#!/bin/sh\nwhile read -r line; do echo "$line"; done < {self._told}\n')
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def tell(self, *free):
        rows = [f"{n}, GPU-{n}aaa-{n}, {size}\n" for n, size in enumerate(free)]
        self._told.write_text("".join(rows))


@pytest.fixture
def smi(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("bin")
    found = Smi(folder)
    monkeypatch.setenv("PATH", str(folder))
    for name in ("CUDA_VISIBLE_DEVICES", *THREADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(resources, "available_cores", lambda: 8)
    found.tell(FREE, FREE, FREE, FREE)
    return found


def visible(n_workers, **options):
    placement = make_placement(n_workers, options)
    return [placement.environment(n).get("CUDA_VISIBLE_DEVICES") for n in range(n_workers)]


def refusal(n_workers, **options):
    with pytest.raises(UsageError) as caught:
        make_placement(n_workers, options)
    return str(caught.value)


def test_workers_have_gpus_of_their_own(smi):
    assert visible(2) == ["0", "1"]
    assert visible(2, gpus_per_trial=2) == ["0,1", "2,3"]
    assert visible(2, gpus="3,1") == ["3", "1"]
    assert visible(2, gpus=[3, "GPU-1a"]) == ["3", "1"]
    order = make_placement(2, {}).environment(0)["CUDA_DEVICE_ORDER"]
    assert order == "PCI_BUS_ID"  # so that the numbers mean what nvidia-smi calls them


def test_workers_share_gpus_on_request_and_are_spread_over_them(smi):
    assert visible(6, gpus="0,2", trials_per_gpu=3) == ["0", "2", "0", "2", "0", "2"]


def test_what_the_environment_allows_is_passed_on_as_it_is(smi, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2aaa-2, 3,-1,0")
    assert visible(2) == ["GPU-2aaa-2", "3"]
    assert visible(1, gpus="2") == ["GPU-2aaa-2"]
    assert "CUDA_DEVICE_ORDER" not in make_placement(2, {}).environment(0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-5,MIG-6")
    assert visible(2) == ["MIG-5", "MIG-6"]
    assert visible(1, gpus="MIG-6") == ["MIG-6"]


def test_trials_without_gpus(smi, monkeypatch):
    assert visible(9, gpus="none") == [""] * 9
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible(9) == [""] * 9
    smi.tell()
    assert read_gpus() == ()
    assert visible(9) == [None] * 9
    assert visible(9, gpus="none") == [None] * 9
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # of no use, and left alone
    assert visible(9) == [None] * 9


def test_requests_that_cannot_be_met_are_told_in_a_line(smi, monkeypatch):
    assert "n_workers must be at most 4, with 4 GPU(s)" in refusal(5)
    assert "must be at most 2, with 4 GPU(s) to use, gpus_per_trial 2" in refusal(
        3, gpus_per_trial=2
    )
    assert "must be at most 2" in refusal(3, trials_per_gpu=2, gpus="1")
    assert "several GPUs or a share of one" in refusal(1, trials_per_gpu=2, gpus_per_trial=2)
    assert "can be used, 0, 1, 2, 3; got '4'" in refusal(1, gpus="0,4")
    assert "each GPU once; got 'GPU-1' again" in refusal(1, gpus="1,GPU-1")
    assert '"0,2", [0, 2] or "none"; got 2' in refusal(1, gpus=2)
    assert "got ''" in refusal(1, gpus="")
    assert "gpus_per_trial must be a whole number" in refusal(1, gpus_per_trial=0)
    assert "threads must be a whole number" in refusal(1, threads=1.5)
    assert "disk_budget, on_interrupt; got 'gpu'" in refusal(1, gpu=1)
    assert "none is to be used" in refusal(1, gpus="none", gpus_per_trial=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,7")
    assert "machine, 0, 1, 2, 3; got '7'" in refusal(1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert "can be used, 0, 1; got '2'" in refusal(1, gpus="2")
    smi.tell()
    assert "gpus needs GPUs, and nvidia-smi finds none; got '0'" in refusal(1, gpus="0")
    assert "trials_per_gpu needs GPUs" in refusal(1, trials_per_gpu=1)


def test_the_cores_are_divided_unless_somebody_has_said_how(smi, monkeypatch):
    def threads(n_workers, **options):
        environment = make_placement(n_workers, {"gpus": "none", **options}).environment(0)
        return [environment.get(name) for name in THREADS]

    assert threads(3) == ["2", "2", "2"]
    assert threads(9) == ["1", "1", "1"]
    monkeypatch.setenv("MKL_NUM_THREADS", "5")
    assert threads(2) == ["4", None, "4"]
    assert threads(2, threads=3) == ["3", "3", "3"]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(resources, "_SECONDS_BETWEEN_LOOKS", 0.01)


def test_a_worker_waits_until_its_gpus_memory_is_free(smi, quick):
    async def main():
        placement = make_placement(2, {"gpus_per_trial": 2})
        await placement.ready(0)
        smi.tell(1_000, FREE, FREE, FREE)
        await placement.ready(1)  # has nothing to do with it
        async with anyio.create_task_group() as tasks:
            done = []

            async def wait():
                await placement.ready(0)
                done.append(smi)

            tasks.start_soon(wait)
            await anyio.sleep(0.2)
            assert not done
            smi.tell(FREE - 100, FREE, FREE, FREE)  # as much as there was, but for a little

    anyio.run(main)


def test_who_shares_a_gpu_waits_for_a_share_of_its_memory(smi, quick, monkeypatch):
    monkeypatch.setattr(resources, "_PATIENCE", 1e9)

    async def main():
        placement = make_placement(2, {"gpus": "0", "trials_per_gpu": 2})
        await placement.ready(0)
        smi.tell(FREE // 2)
        await placement.ready(1)
        smi.tell(FREE // 4)
        with anyio.move_on_after(0.2) as scope:
            await placement.ready(1)
        assert scope.cancelled_caught

    anyio.run(main)


def test_the_wait_is_bounded_and_comes_once(smi, quick, monkeypatch):
    async def main():
        placement = make_placement(1, {})
        await placement.ready(0)
        smi.tell(10)  # somebody else has come to use it
        monkeypatch.setattr(resources, "_PATIENCE", 0.02)
        await placement.ready(0)
        monkeypatch.setattr(resources, "_PATIENCE", 1e9)
        await placement.ready(0)

    anyio.run(main)


def test_trials_find_the_devices_of_their_worker(tmp_path, smi):
    text = """
import os
from asynctune import report
print(os.environ["CUDA_VISIBLE_DEVICES"], os.environ["OMP_NUM_THREADS"])
report(epoch=9, loss=1.0)
"""
    options = {"gpus": "1,2", "threads": 3}
    trainable = script(tmp_path, text)
    run(tmp_path / "e", trainable, method="RS", options=options, bounds={"max_trials": 4})
    logs = (tmp_path / "e" / "trials").glob("*/stdout.0.log")
    assert {log.read_text().strip() for log in logs} == {"1 3", "2 3"}


TELLS = """
import argparse, os
from asynctune import report
parser = argparse.ArgumentParser()
parser.add_argument("--x", type=float)
given = parser.parse_args()
print(os.environ["CUDA_VISIBLE_DEVICES"])
report(epoch=9, loss=given.x)
"""
RUN = "run --script train.py --space space.yaml --metric loss --max-resource 9 --method RS"


@pytest.mark.parametrize(
    ("n_gpus", "options", "n_workers", "devices"),
    [
        (2, "--trials-per-gpu 2", 4, {"0", "1"}),
        (2, "--gpus 1 --trials-per-gpu 3 --n-workers 3", 3, {"1"}),
        (2, "--gpus-per-trial 2", 1, {"0,1"}),
        (1, "--gpus none --n-workers 2", 2, {""}),
        (1, "--gpus none", 4, {""}),
        (1, "", 1, {"0"}),
    ],
)
def test_devices_are_taken_as_asked_for_all_the_way(
    call, tmp_path, smi, monkeypatch, n_gpus, options, n_workers, devices
):
    monkeypatch.setattr(opening, "available_cores", lambda: 8)
    smi.tell(*[FREE] * n_gpus)
    script(tmp_path, TELLS)
    (tmp_path / "space.yaml").write_text("x: {uniform: [0, 1]}")
    done = call(*RUN.split(), "--max-trials", str(2 * n_workers), *options.split())
    assert done.status == 0, done.err
    (folder,) = (tmp_path / "results" / "train").glob("RS-*")
    assert json.loads((folder / "metadata.json").read_bytes())["n_workers"] == n_workers
    logs = folder.glob("trials/*/stdout.0.log")
    assert {log.read_text().strip() for log in logs} == devices
    # Other devices are no other experiment.
    again = ["--n-workers", str(n_workers), "--max-trials", str(2 * n_workers + 1)]
    done = call(*RUN.split(), *again, "--gpus", "none")
    assert done.status == 0, done.err
    assert f"of {2 * n_workers + 1} trials" in done.out


def test_a_function_has_the_devices_asked_for(tmp_path, smi):
    smi.tell(FREE)
    settings = {
        "space": {"x": uniform(0, 1), "seconds": 0.0},
        "metric": "loss",
        "max_resource": functions.LEVELS,
        "method": "RS",
        "max_trials": 2,
        "results_dir": tmp_path,
    }
    tuned = tune(functions.trained, trials_per_gpu=2, tag="shared", **settings)
    assert tuned.metadata["n_workers"] == 2
    tuned = tune(functions.trained, gpus="none", n_workers=3, tag="none", **settings)
    assert tuned.metadata["n_workers"] == 3
