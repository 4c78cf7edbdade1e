"""The paper's experiments as independent cells, resumable, on many processors."""
