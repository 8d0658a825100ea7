"""A tuner in a process of its own, which tests kill and interrupt: FOLDER SCRIPT SETTINGS."""

import json
import sys
from pathlib import Path

from trials import experiment

from asynctune.experiment import run_experiment
from asynctune.trainable import Script


def main():
    folder, path, settings = sys.argv[1:]
    trainable = Script(path=Path(path))
    run_experiment(experiment(trainable, **json.loads(settings)), Path(folder))


if __name__ == "__main__":
    main()
