"""Expecting a refusal with its facts."""

import pytest

from services.errors import Refusal


def refusal(expected: Refusal) -> pytest.RaisesExc[Refusal]:
    """Expect a refusal of the same type with the same facts."""
    return pytest.raises(type(expected), check=lambda raised: vars(raised) == vars(expected))
