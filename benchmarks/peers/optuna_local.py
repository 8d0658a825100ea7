"""One of Optuna's processes: it runs commands as trials, and shares a journal with the others.

    python -m benchmarks.peers.optuna_local JOURNAL TRIALS ANSWERS COMMAND...

`--x=VALUE` is added to the command. The reports it prints are told to Optuna, and how long each
took from its line to the decision is appended to the file ANSWERS, in seconds.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend


def main() -> None:
    journal, trials, answers, *command = sys.argv[1:]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name="overhead",
        storage=optuna.storages.JournalStorage(JournalFileBackend(journal)),
        sampler=optuna.samplers.RandomSampler(),
        pruner=optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    with Path(answers).open("a", buffering=1) as waits:

        def objective(trial: Any) -> float:  # noqa: ANN401 - a trial of Optuna
            loss = float("nan")
            x = trial.suggest_float("x", 0.0, 1.0)
            with subprocess.Popen([*command, f"--x={x}"], stdout=subprocess.PIPE) as process:
                for line in process.stdout or ():
                    at = time.monotonic()
                    values = json.loads(line)
                    loss = values["loss"]
                    trial.report(loss, values["epoch"])
                    trial.should_prune()  # of this pruner the answer is no
                    waits.write(f"{time.monotonic() - at!r}\n")
            if process.returncode:
                raise RuntimeError(f"a trial ended with status {process.returncode}")
            return loss

        study.optimize(objective, n_trials=int(trials))


if __name__ == "__main__":
    main()
