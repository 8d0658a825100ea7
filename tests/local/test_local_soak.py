"""A small soak: trials and the tuner are killed at random, and nothing is lost or left."""

import json

from benchmarks.local_soak import problems, soak


def test_nothing_is_lost_or_left_however_much_is_killed(tmp_path):
    result = soak(tmp_path, trials=12, kills=8, workers=2, seed=5)
    assert result["problems"] == []
    assert sum(result["killed"].values()) >= 8
    assert result["killed"]["tuner"] >= 3
    check_that_problems_are_found(tmp_path)


def check_that_problems_are_found(folder):
    journal = folder / "journal.jsonl"
    text = journal.read_text()
    lines = text.splitlines()
    report = next(i for i, line in enumerate(lines) if '"event":"report"' in line)
    paused = next(i for i, line in enumerate(lines) if '"event":"paused"' in line)
    for broken, word in [
        (lines[:report] + lines[report + 1 :], "which the journal does not"),
        ([*lines, lines[report]], "th of"),
        (lines[:paused] + lines[paused + 1 :], "attempts started and over differ"),
        ([*lines, changed(lines[report], metrics={"loss": 7.0})], "a wrong result"),
    ]:
        journal.write_text("\n".join(broken) + "\n")
        assert any(word in problem for problem in problems(folder, 12)), word
    journal.write_text(text)
    left = folder / "trials" / "wake"
    left.touch()
    assert problems(folder, 12) == [f"{left} was left"]


def changed(line, **values):
    return json.dumps(json.loads(line) | values)


def test_missing_trials_are_found(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event":"header"}\n')
    assert any("0 trials were started" in problem for problem in problems(tmp_path, 25))
