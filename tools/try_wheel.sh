#!/usr/bin/env bash
# Try an installed package as a user would: try_wheel.sh FOLDER-OF-ITS-PROGRAMS, outside of the clone.
set -euo pipefail
bin=$1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
export MINARI_DATASETS_PATH=$place/minari OMP_NUM_THREADS=1

"$bin/persim-gym" --version
"$bin/persim-gym" record cartpole --agents 12
"$bin/persim-gym" fit persim/cartpole/random-v0 --out runs/small --method als --degree 1 --rank 2
"$bin/persim-gym" evaluate runs/small --agents 0-4
"$bin/python" - <<'PYTHON'
import pathlib

import gymnasium as gym
import persim_gym

env = gym.make("PerSim-Learned-v0", simulator="runs/small", agent=3)
env.reset(seed=0)
env.step(env.action_space.sample())
where = pathlib.Path(persim_gym.__file__).parent
assert (where / "py.typed").exists(), "the wheel holds no py.typed"
print("persim_gym", persim_gym.__version__, "works in", where)
PYTHON
