"""What `changes.py` measures of row changes, one question to a file."""
