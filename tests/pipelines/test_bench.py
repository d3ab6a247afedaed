"""The registry of benchmarks and the table of everything; what they measure is never a test."""

from importlib import import_module

import pytest

from mien.errors import InputError, MissingExtraError
from mien.pipelines import bench as module
from mien.pipelines.bench import BENCHES, BenchOptions, bench
from mien.pipelines.bench_row import BenchRow, table


class Measured:
    def __init__(self, *rows: BenchRow) -> None:
        self.rows = list(rows)


def quick(options, progress):
    return Measured(BenchRow("quick", "64 px", 50.0, 0.02, {"encode only": 2.5}, 0.25))


def impossible(options, progress):
    raise MissingExtraError("needs PyTorch", "pip install it")


def test_every_registered_benchmark_exists():
    for name, (place, function) in BENCHES.items():
        assert callable(getattr(import_module(place), function)), name


def test_one_table_of_everything_that_runs_here(monkeypatch):
    monkeypatch.setattr(module, "BENCHES", {"quick": (__name__, "quick"), "impossible": (__name__, "impossible")})
    monkeypatch.setattr(module, "import_module", lambda name: import_module("sys").modules[name])
    result = bench(BenchOptions(repeats=1))
    assert [row.job for row in result.rows] == ["quick"]
    assert "| quick | 64 px | 50 | 2% | encode only: 2.50 | 0.25 GiB |" in str(result)
    assert "not measured, impossible: needs PyTorch" in str(result)
    with pytest.raises(MissingExtraError):
        bench(BenchOptions("impossible"))


def test_wrong_options_are_refused():
    with pytest.raises(InputError, match="there are all, speak"):
        bench(BenchOptions("nothing"))
    with pytest.raises(InputError, match="repeats"):
        bench(BenchOptions("speak", repeats=0))


def test_empty_cells_stay_empty():
    assert table([BenchRow("a", "b", 12345.0)]).splitlines()[-1] == "| a | b | 1.23e+04 |  |  |  |"
