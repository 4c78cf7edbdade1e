"""The data files of the paper's authors, read without running anything that they name."""

from persim_gym.offline.authors.reading import from_authors_file, import_authors_file

__all__ = ["from_authors_file", "import_authors_file"]
