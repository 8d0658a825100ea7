import json

import pytest

from benchmarks import figures

MEASURED = {
    "simulator_throughput": [
        {
            "method": "ASHA",
            "n_workers": 1_000,
            "reports": 10,
            "reports_per_second": 51_234.5,
            "peak_rss_mib": 600.0,
        }
    ],
    "gp_latency": {
        "rows": [
            {"kind": "BO", "peer": "asynctune BO", "size": 50, "target": None, "cpu_median": 5.0},
            {
                "kind": "BO",
                "peer": "Optuna GP",
                "size": 50,
                "target": 1 / 8,
                "cpu_median": 120.0,
                "cpu_median_ratio": 1 / 24,
            },
        ]
    },
    "optimizer_quality": {
        "rows": [
            {
                "problem": problem,
                "n_workers": 1,
                "optimizer": name,
                "share": share,
                "mean_rank": rank,
            }
            for problem in ("a", "b")
            for name, rank in (("asynctune BO", 1.25), ("random", 2.75))
            for share in (0.5, 1.0)
        ]
    },
}


def test_the_summary_is_made_of_what_was_measured():
    lines = figures.summary(MEASURED).splitlines()
    assert len(lines) == 2 + 3
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert cells[0][1:] == ["51,234", "", "50,000"]
    assert cells[1][1:] == ["5.0", "Optuna GP: 120 (1/24)", "1/8"]
    assert cells[2][1:] == ["1.25", "random 2.75", "the lowest"]


def test_the_summary_has_all_local_peers_or_none():
    def of(handover, answer):
        return {"handover": {"median_ms": handover}, "answer": {"median_ms": answer}}

    ours = {**of(22.0, 0.75), "handover_bare": {"median_ms": 17.0}, "target_ms": 20.0}
    optuna = {"optuna": of(21.0, 1.0)}
    ray = {"ray": {"command": of(30.0, 3.25), "kept": of(7.0, 3.0)}}
    for measured in (ours, ours | optuna, ours | ray):
        answer, after = figures.summary({"local_overhead": measured}).splitlines()[2:]
        assert [cell.strip() for cell in answer.split("|")[2:-1]] == ["0.8", "", "20"]
        assert [cell.strip() for cell in after.split("|")[2:-1]][1] == "without a tuner 17"
    answer, after = figures.summary({"local_overhead": ours | optuna | ray}).splitlines()[2:]
    assert "| Optuna 1.0, Ray Tune 3.2 |" in answer.replace("  ", "")
    assert "without a tuner 17, Optuna 21, Ray Tune 30" in after


def test_what_stands_between_the_marks_is_replaced():
    text = f"before\n{figures.BEGIN}\nold\n{figures.END}\nafter\n"
    once = figures.replaced(text, "new")
    assert once == f"before\n{figures.BEGIN}\n\nnew\n\n{figures.END}\nafter\n"
    assert figures.replaced(once, "new") == once
    with pytest.raises(ValueError, match="must have the marks"):
        figures.replaced("before", "new")


def test_the_committed_tables_are_those_of_the_committed_figures():
    measured = figures.read()
    assert measured
    assert figures.PAGE.read_text() == figures.page(measured)
    readme = figures.README.read_text()
    assert figures.replaced(readme, figures.summary(measured)) == readme


def test_a_stale_table_is_found(tmp_path, monkeypatch, capsys):
    (tmp_path / "measured").mkdir()
    (tmp_path / "README.md").write_text(f"{figures.BEGIN}\n{figures.END}\n")
    figure = MEASURED["simulator_throughput"]
    (tmp_path / "measured" / "simulator_throughput.json").write_text(json.dumps(figure))
    monkeypatch.setattr(figures, "ROOT", tmp_path)
    monkeypatch.setattr(figures, "README", tmp_path / "README.md")
    monkeypatch.setattr(figures, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(
        figures, "read", lambda: json.loads(json.dumps({"simulator_throughput": figure}))
    )
    monkeypatch.setattr("sys.argv", ["figures", "--check"])
    assert figures.main() == 1
    assert "stale: README.md" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["figures"])
    assert figures.main() == 0
    assert "51,234" in (tmp_path / "README.md").read_text()
    monkeypatch.setattr("sys.argv", ["figures", "--check"])
    assert figures.main() == 0
