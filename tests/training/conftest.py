"""What the tests of the training script and the collector share: a small text."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Return a folder with three files, drawn from a chain in which a word tells the next."""
    random = np.random.default_rng(7)
    words = np.array([f"w{i}" for i in range(30)])
    made = tmp_path_factory.mktemp("text")
    for part, n_lines in (("train", 90), ("valid", 20), ("test", 5)):
        lines = []
        for _ in range(n_lines):
            at = int(random.integers(30))
            line = []
            for _ in range(int(random.integers(5, 15))):
                line.append(words[at])
                at = (3 * at + int(random.integers(3))) % 30
            lines.append(" " + " ".join(line) + " \n")
        (made / f"{part}.txt").write_text("".join(lines))
    return made
