"""The operator's side: incidents, housekeeping, checks, and what one process needs."""
