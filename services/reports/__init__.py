"""What managers read: usage, and the ledger as a file."""
