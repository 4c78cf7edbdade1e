"""PerSim beside simple references on recorded panels: real agents, few and noisy observations."""
