"""What the shell is offered."""

from __future__ import annotations

import re

from tests.cli.commands import invoke


def offered(line: str, between: str | None = None) -> list[str]:
    """What is offered for the last word of a line."""
    words = f"persim-gym {line}"
    env = {
        "_PERSIM_GYM_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(re.findall(r"[^ ]*'[^']*'?|[^ ]+|(?<= )$", words)) - 1),
    }
    said = invoke(env=env, prog_name="persim-gym").stdout
    return [word for word in said.split(between) if word]
