"""Networks that an agent's latent enters nonlinearly."""
