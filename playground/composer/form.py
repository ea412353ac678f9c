"""The form: which sections a song has and how many bars each gets, so that they fill the time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log

from playground.composer.lyrics import Stanza

_ENERGY = {
    "intro": 0.45,
    "verse": 0.58,
    "pre-chorus": 0.72,
    "chorus": 0.95,
    "bridge": 0.55,
    "instrumental": 0.82,
    "outro": 0.6,
}
_SYLLABLES_A_SECOND = 2.6  # about two words, as the song API's facts say
_WITH_BREATH = 1.5
_RUSHED = 5.5
_INSTRUMENTAL = tuple(Stanza(kind, ()) for kind in ("intro", "verse", "chorus", "outro"))


@dataclass(frozen=True, slots=True)
class Section:
    """`bars` from `first_bar` on. `lines` as in `Stanza`; `energy` 0-1; `turn` counts the sections
    of its kind from 0."""

    kind: str
    lines: tuple[int, ...]
    bars: int
    first_bar: int = 0
    energy: float = 0.5
    turn: int = 0


def plan(stanzas: Sequence[Stanza], bars: int, *, bar_seconds: float, phrase: int) -> list[Section]:
    """Sections that make exactly `bars` bars (at least 1), in order, with an ending.

    Words that do not fit are sung faster, and beyond what can be sung they are left out.
    """
    stanzas = _with_frame(stanzas, bars)
    pace = _bars_for_line(stanzas, bar_seconds)
    rushed = _SYLLABLES_A_SECOND / _RUSHED
    sections = _lay_out(stanzas, pace, phrase)
    while (
        _total(sections) > bars and pace * rushed > 0.25 and pace > _fastest(stanzas, bar_seconds)
    ):
        pace /= 2
        sections = _lay_out(stanzas, pace, phrase)
    sections = _shorten(sections, bars)
    sections = _lengthen(sections, bars, phrase)
    return _numbered(sections)


def _with_frame(stanzas: Sequence[Stanza], bars: int) -> list[Stanza]:
    framed = list(stanzas) if any(s.lines or s.kind != "instrumental" for s in stanzas) else []
    framed = framed or list(_INSTRUMENTAL)
    if framed[0].kind != "intro" and bars >= 8:
        framed.insert(0, Stanza("intro", ()))
    if framed[-1].kind != "outro" and bars >= 6:
        framed.append(Stanza("outro", ()))
    return framed


def _bars_for_line(stanzas: Sequence[Stanza], bar_seconds: float) -> float:
    lines = [count for stanza in stanzas for count in stanza.lines]
    if not lines:
        return 2
    seconds = sum(lines) / len(lines) / _SYLLABLES_A_SECOND * _WITH_BREATH
    return min((4, 2, 1, 0.5), key=lambda bars: abs(log(bars * bar_seconds / seconds)))


def _fastest(stanzas: Sequence[Stanza], bar_seconds: float) -> float:
    longest = max((count for stanza in stanzas for count in stanza.lines), default=1)
    return longest / _RUSHED / bar_seconds


def _lay_out(stanzas: Sequence[Stanza], pace: float, phrase: int) -> list[Section]:
    return [Section(s.kind, s.lines, _ideal_bars(s, pace, phrase)) for s in stanzas]


def _ideal_bars(stanza: Stanza, pace: float, phrase: int) -> int:
    sung = len(stanza.lines) * pace
    if sung:
        unit = 4 if sung > 2 else 2
        return max(1, int(-(-sung // unit) * unit) if sung > 1 else 1)
    return {"intro": 4, "outro": 4, "pre-chorus": 4}.get(stanza.kind, max(8, phrase))


def _total(sections: Sequence[Section]) -> int:
    return sum(section.bars for section in sections)


def _shorten(sections: list[Section], bars: int) -> list[Section]:
    """What is not sung gets shorter, then goes; then the last words go."""
    for shortest in (2, 1, 0):
        for index, section in enumerate(sections):
            spare = _total(sections) - bars
            if not section.lines and spare > 0:
                left = max(shortest, section.bars - spare)
                sections[index] = replace(section, bars=min(section.bars, left))
    sections = [section for section in sections if section.bars]
    while (spare := _total(sections) - bars) > 0:
        last = sections[-1]
        if spare >= last.bars:
            sections.pop()
            continue
        left = last.bars - spare
        lines = max(1, len(last.lines) * left // last.bars)
        sections[-1] = replace(last, bars=left, lines=last.lines[:lines])
    return sections


def _lengthen(sections: list[Section], bars: int, phrase: int) -> list[Section]:
    """More of what is there: the verse and the refrain again, a solo, as long as they fit."""
    ends = sections[-1].kind == "outro" and len(sections) > 1
    body, outro = (sections[:-1], sections[-1:]) if ends else (sections, [])
    rounds = _encores(body, phrase)
    turn = 0
    while (spare := bars - _total(body) - _total(outro)) >= 4:
        choices = [rounds[turn % len(rounds)], *rounds]
        turn += 1
        # A verse must lead to its refrain: what does not fit completely is left out.
        fitting = next((each for each in choices if _total(each) <= spare), None)
        body += fitting or [Section("instrumental", (), spare)]
    form = body + outro
    stretchable = sorted(range(len(form)), key=lambda i: (bool(form[i].lines), -i))
    for step in range(bars - _total(form)):
        index = stretchable[step % len(stretchable)]
        form[index] = replace(form[index], bars=form[index].bars + 1)
    return form


def _encores(body: Sequence[Section], phrase: int) -> list[list[Section]]:
    """What may come when the song has been sung once and there is time left."""
    worded = any(section.lines for section in body)
    solo = [Section("instrumental" if worded else "bridge", (), max(8, phrase))]
    verse = [s for s in body if s.kind == "verse"][-1:]
    refrain = [s for s in body if s.kind == "pre-chorus"][:1]
    refrain += [s for s in body if s.kind == "chorus"][:1]
    if not refrain:
        return [solo + verse, solo]
    return [verse + refrain, solo + refrain, refrain]


def _numbered(sections: Sequence[Section]) -> list[Section]:
    turns: dict[str, int] = {}
    choruses = sum(section.kind == "chorus" for section in sections)
    done: list[Section] = []
    first = 0
    for section in sections:
        turn = turns.get(section.kind, 0)
        turns[section.kind] = turn + 1
        energy = min(0.98, _ENERGY[section.kind] + min(0.06, 0.04 * turn))
        if section.kind == "chorus" and turn == choruses - 1:
            energy = 1.0
        done.append(replace(section, first_bar=first, energy=energy, turn=turn))
        first += section.bars
    return done
