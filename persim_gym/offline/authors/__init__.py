"""The data files of the paper's authors, read without running anything that they name."""
