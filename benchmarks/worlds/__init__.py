"""Worlds with a known truth, simple references, and one table of PerSim beside them.

python -m benchmarks.worlds quick
python -m benchmarks.worlds full --jobs 4 --out runs/worlds
"""
