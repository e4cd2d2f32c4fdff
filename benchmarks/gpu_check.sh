#!/usr/bin/env bash
# Everything that a graphics card should do, checked and timed, in at most eight minutes on one card; nothing is
# downloaded. Prints a table in Markdown and exits with 1 where something is wrong. Without a card the same steps run
# small on the CPU.
#
#     benchmarks/gpu_check.sh [PYTHON] > table.md        # PYTHON: .venv/bin/python, if it is there
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" HF_HUB_OFFLINE=1
exec "$python" benchmarks/gpu_check.py
