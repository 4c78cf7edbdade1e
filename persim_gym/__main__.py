"""`python -m persim_gym` is the command line."""

from persim_gym.cli import app

app(prog_name="persim-gym")
