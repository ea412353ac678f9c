"""The facts: everything that must survive a restart, in SQLite."""
