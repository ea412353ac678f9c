"""Guarantees of money and state, each with the change that breaks it and the tests that notice.

`python -m tests.mutants` makes each change in a copy of the project and runs its tests, which have
to fail. `python -m tests.mutants NAME ...` takes the named ones.
"""
