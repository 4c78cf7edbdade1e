"""SfBC: a diffusion model of the behaviour, a critic on its samples, and a choice among them."""
