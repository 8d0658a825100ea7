"""A training script that does nothing but write down when it began, reported and was answered."""

import time

BEGAN = time.monotonic()  # before anything else is imported

import argparse  # noqa: E402
import os  # noqa: E402
from pathlib import Path  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", required=True)
    parser.add_argument("--levels", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True, help="of a level")
    parser.add_argument("--x", type=float, required=True)
    given = parser.parse_args()
    path = Path(given.times) / f"{time.time_ns()}-{os.getpid()}"
    with path.open("w", buffering=1) as times:
        times.write(f"{BEGAN!r}\n")
        from asynctune import report

        for level in range(1, given.levels + 1):
            time.sleep(given.seconds)
            at = time.monotonic()
            times.write(f"{at!r} ")
            told = report(epoch=level, loss=given.x / level)
            times.write(f"{time.monotonic()!r}\n")
            if told:
                break


if __name__ == "__main__":
    main()
