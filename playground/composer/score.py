"""What a piece is made of before it sounds: notes in beats, in parts, in a score."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """`start` and `length` in quarter-note beats of the unswung grid, `force` 0-1."""

    start: float
    length: float
    pitch: int
    force: float


@dataclass(slots=True)
class Part:
    """One player: an instrument or a drum kit, its place in the room, and what it plays.

    `level` is in dB against the other parts, `pan` from -1 (left) to 1, `reverb` 0-1, `looseness`
    the standard deviation of its timing in seconds, `delay` seconds it sits behind the beat.
    """

    program: int
    level: float
    pan: float = 0.0
    reverb: float = 0.3
    looseness: float = 0.005
    delay: float = 0.0
    vibrato: bool = False
    pumped: bool = False
    drums: bool = False
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Clock:
    """Beats to seconds. `swing` is where the middle of a `swing_unit` falls (0.5 is straight).

    From beat `slows_from` on, time is `slows_by` times as long: the ritardando before the end.
    """

    beat: float
    swing: float
    swing_unit: float
    slows_from: float
    slows_by: float

    def seconds(self, beats: float) -> float:
        """When the beat sounds."""
        units, within = divmod(beats / self.swing_unit, 1.0)
        if within < 0.5:
            within *= 2 * self.swing
        else:
            within = self.swing + (within - 0.5) * 2 * (1 - self.swing)
        swung = (units + within) * self.swing_unit
        late = max(0.0, swung - self.slows_from)
        return (swung + late * (self.slows_by - 1)) * self.beat
