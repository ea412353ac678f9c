"""The genres this composer knows, by name."""

from playground.composer.genres.acoustic import ACOUSTIC
from playground.composer.genres.bands import BANDS
from playground.composer.genres.electronic import ELECTRONIC
from playground.composer.genres.family import Family

FAMILIES: dict[str, Family] = BANDS | ELECTRONIC | ACOUSTIC
