"""What developers run: the lock file, the documentation."""
