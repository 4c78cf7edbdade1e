"""From data to a simulator: the plan, one family or the choice, and what a card says of it."""
