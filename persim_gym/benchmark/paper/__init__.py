"""The paper's experiments as one benchmark of independent cells, resumable, on many processors."""
