"""Run all benchmarks, or those that are named, and print one table.

python benchmarks/run.py
python benchmarks/run.py environments planning --quick --json bench.json
"""

from __future__ import annotations

import environments
import fitting
import learned_env
import planning
import reading
import sfbc
from measure import main

BENCHMARKS = {
    "environments": environments.rows,
    "fitting": fitting.rows,
    "planning": planning.rows,
    "learned_env": learned_env.rows,
    "reading": reading.rows,
    "sfbc": sfbc.rows,
}

if __name__ == "__main__":
    main(BENCHMARKS)
