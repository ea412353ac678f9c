"""Credits, rules and limits: who may make how much, and what becomes of it."""
