#!/usr/bin/env bash
# All checks, cheapest first; called by ./run test. Arguments go to pytest (-n 0: in one process, as --pdb wants it).
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 PATH="$PWD/.venv/bin:$PATH"
ruff check .
ruff format --check .
mypy
lint-imports
python -m pytest -n auto --maxprocesses 8 --dist loadfile "$@"
