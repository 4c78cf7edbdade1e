"""Tables as data: files and frames of any kind, their columns and rows, read as transitions."""
