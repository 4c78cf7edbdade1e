"""What is known of an agent: the population as prior, and its transitions."""
