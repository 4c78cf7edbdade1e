"""One step of an environment: members' next observations, compiled where that can be had."""
