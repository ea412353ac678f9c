"""Music from genres, lyrics, seconds and a seed: what the playground's song API plays.

tags      genres -> Style          lyrics    text -> stanzas of syllables
form      stanzas -> sections that fill the seconds
harmony   sections -> chords       melody    syllables -> a tune over them
band      drums, bass and what accompanies
performance  a score -> MIDI -> sound        mastering  sound -> a WAV of the exact length
"""

from playground.composer.song import compose

__all__ = ["compose"]
