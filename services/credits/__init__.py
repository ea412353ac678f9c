"""Credits: balances, holds, transfers and budgets."""
