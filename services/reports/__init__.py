"""Usage, the ledger as a file, and the operator's overview."""
