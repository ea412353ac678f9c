"""The providers that there are, and the one that new songs go to."""

from services.providers import segmind

DEFAULT = segmind.NAME
PARAMETERS = segmind.PARAMETERS
"""Of the default one: what `/song` takes."""
connect = segmind.connect
