"""Features and scaled changes of states, and back; which past a state needs."""
