"""The child process of `services/reports/usage_picture.py`: draws usage with Matplotlib.

Each line of JSON on stdin is a picture; each answer on stdout is a line with the PNG's length in
bytes, then the PNG. The process ends with stdin.

Sizes are in pixels from the upper left corner. Discord shows the picture at about half its size
(550 by 350 at most), so text of size 22 appears as 11. It is a dark card with a border, to be
readable on the dark and the light theme, and shows nothing by colour alone.
"""

import gc
import io
import logging
import signal
import sys
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from functools import cache, lru_cache
from typing import Any, BinaryIO, Literal

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import IdentityTransform

from services.reports.usage_picture import UsagePicture
from services.text import clean

WIDTH = 1_100

CARD, BORDER, GRID = "#1e2026", "#565b66", "#3a3e48"
TEXT, QUIET = "#f2f3f5", "#b9bdc6"
# After Okabe and Ito's colours (Color Universal Design, 2008); the green is lighter, for the card.
DAY, MEMBER, GENRE = "#56b4e9", "#e69f00", "#2fc79a"

_MARGIN, _BELOW = 40, 26
_TITLE, _HEADING, _LABEL, _TICK = 30, 24, 22, 20  # sizes of text
_TITLE_AT, _DATES_AT, _HEADING_AT = 62, 296, 350  # baselines
_DAYS_LEFT, _DAYS_TOP, _DAYS_RIGHT, _DAYS_BOTTOM = 116, 92, 1_050, 268
_ROWS_TOP, _ROW, _FEWEST_ROWS = 368, 32, 3
_PANEL, _PANELS_APART = 490, 40
_NAME, _AMOUNT, _GAP = 212, 92, 10  # columns of a panel; its bars have what is left
_HEIGHT_OF_NOTHING = 260
_RADIUS = 24
_CAP_HEIGHT = 0.73  # of DejaVu Sans, as a part of its size

_FONT = "DejaVu Sans"
"""Comes with Matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic and many symbols."""

# What systems have for the rest; the first that knows a character draws it. No fonts of coloured
# emoji: Matplotlib draws outlines.
_OTHER_FONTS = (
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "Noto Sans CJK KR", "Noto Sans JP", "Noto Sans SC"),
    *("Noto Sans KR", "Yu Gothic", "Microsoft YaHei", "Malgun Gothic", "Hiragino Sans"),
    *("PingFang SC", "Apple SD Gothic Neo", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei"),
    *("IPAGothic", "Droid Sans Fallback", "Noto Sans Thai", "Noto Sans Devanagari"),
    *("Noto Sans Bengali", "Noto Sans Tamil", "Noto Sans Telugu", "Leelawadee UI", "Nirmala UI"),
    *("Thonburi", "Kohinoor Devanagari", "Noto Sans Symbols", "Noto Sans Symbols 2"),
    *("Noto Emoji", "Segoe UI Symbol", "Apple Symbols", "Unifont", "Arial Unicode MS"),
)
_JOINERS = "\u200c\u200d"
_BLANKS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols that nobody sees
_MOST_MARKS = 3
"""Signs on one letter: enough for Thai and Hebrew, too few for a tower over the rows above."""

_UNITS = ((10**3, "k"), (10**6, "M"), (10**9, "bn"), (10**12, "tn"))


def plot(picture: UsagePicture) -> bytes:
    """Return the picture as a PNG."""
    texts = [picture.title, *(label for label, _ in (*picture.members, *picture.genres))]
    with mpl.rc_context({"text.parse_math": False, "font.family": _families(texts)}):
        png = io.BytesIO()
        _drawn(picture).savefig(png, format="png", dpi="figure", metadata={"Software": None})
    return png.getvalue()


def short(amount: int) -> str:
    """Format credits; from 10,000 on with three digits and a unit: 9,999, 10k, 1.23M, 45.6bn."""
    if amount < 10_000:
        return f"{amount:,}"
    for size, unit in _UNITS:
        if amount < 999.5 * size:  # 999.5 would be shown as 1e+03
            return f"{amount / size:.3g}{unit}"
    return f"{amount:.1e}".replace("+", "")


def drawable(text: str) -> str:
    """Return the text on one line, without the characters that no font here has."""
    drawn: list[str] = []
    marks, on_something = 0, False
    for c in clean(text):
        if c.isspace() or c in _BLANKS:
            drawn.append(" ")
            on_something = False
        elif c in _JOINERS or unicodedata.category(c)[0] == "M":
            marks += 1
            selects_variant = "\ufe00" <= c <= "\ufe0f"
            if on_something and marks <= _MOST_MARKS and _family_of(c) and not selects_variant:
                drawn.append(c)
        else:
            marks, on_something = 0, _family_of(c) is not None
            if on_something:
                drawn.append(c)
    return " ".join("".join(drawn).split())


# --- fonts ----------------------------------------------------------------------------------------


def _families(texts: Sequence[str]) -> list[str]:
    """Return the fonts needed to draw the texts, the default one first."""
    families = {_FONT: None}  # a set would lose the order
    families |= {family: None for c in set().union(*texts) if (family := _family_of(c))}
    return list(families)


@lru_cache(maxsize=8_192)
def _family_of(character: str) -> str | None:
    """Return the first font that has the character."""
    code = ord(character)
    if _face(_FONT).get_char_index(code):
        return _FONT
    return next((f for f in _installed_fonts() if _face(f).get_char_index(code)), None)


@cache
def _installed_fonts() -> tuple[str, ...]:
    installed = set(font_manager.get_font_names())
    return tuple(family for family in _OTHER_FONTS if family in installed)


@cache
def _face(family: str) -> FT2Font:
    return font_manager.get_font(font_manager.findfont(FontProperties(family=family)))


# --- drawing --------------------------------------------------------------------------------------


class _Card:
    """A figure whose parts are placed by pixels from its upper left corner."""

    def __init__(self, height: int) -> None:
        # At 72 dots an inch a point is a pixel.
        self.figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor="none")
        self._canvas = FigureCanvasAgg(self.figure)
        self._height = height
        outline = FancyBboxPatch(
            (1, 1),
            WIDTH - 2,
            height - 2,
            boxstyle=f"round,pad=0,rounding_size={_RADIUS}",
            transform=IdentityTransform(),
            facecolor=CARD,
            edgecolor=BORDER,
            linewidth=2,
            zorder=-1,  # behind the axes
        )
        self.figure.add_artist(outline)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """A bare plotting area: no frame, no ticks."""
        box = (
            left / WIDTH,
            1 - bottom / self._height,
            (right - left) / WIDTH,
            (bottom - top) / self._height,
        )
        axes = self.figure.add_axes(box, facecolor="none")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return axes

    def text(
        self,
        x: float,
        baseline: float,
        text: str,
        size: int,
        colour: str = TEXT,
        *,
        ha: Literal["left", "center", "right"] = "left",
        weight: str = "normal",
    ) -> None:
        at = (x / WIDTH, 1 - baseline / self._height)
        style: dict[str, Any] = {"size": size, "color": colour, "weight": weight}
        self.figure.text(*at, text, ha=ha, va="baseline", **style)

    def width(self, text: str, size: int, weight: str = "normal") -> float:
        """Return the width of a text in pixels."""
        font = FontProperties(size=size, weight=weight)
        renderer: RendererAgg = self._canvas.get_renderer()  # type: ignore[no-untyped-call]
        measured = renderer.get_text_width_height_descent(text, font, ismath=False)  # type: ignore[no-untyped-call]
        return float(measured[0])

    def shortened(self, text: str, width: float, size: int, weight: str = "normal") -> str:
        """Return the text, cut if it is wider than `width` pixels."""
        if self.width(text, size, weight) <= width:
            return text
        cuts = range(1, len(text))
        length = bisect_right(cuts, width, key=lambda n: self.width(f"{text[:n]}…", size, weight))
        return f"{text[:length].rstrip()}…"


def _drawn(picture: UsagePicture) -> Figure:
    amounts = [amount for _, amount in (*picture.days, *picture.members, *picture.genres)]
    rows = max(len(picture.members), len(picture.genres), _FEWEST_ROWS)
    height = _ROWS_TOP + rows * _ROW + _BELOW
    card = _Card(height if any(amounts) else _HEIGHT_OF_NOTHING)
    _draw_title(card, picture)
    if any(amounts):
        _draw_days(card, picture.days)
        _draw_panel(card, _MARGIN, "By member", picture.members, MEMBER)
        _draw_panel(card, _MARGIN + _PANEL + _PANELS_APART, "By genre", picture.genres, GENRE)
    else:
        card.text(WIDTH / 2, 148, "Nothing was used yet.", _HEADING, ha="center")
        hint = "The songs that are made here will show up in this picture."
        card.text(WIDTH / 2, 190, hint, _LABEL, QUIET, ha="center")
    return card.figure


def _draw_title(card: _Card, picture: UsagePicture) -> None:
    total = sum(amount for _, amount in picture.days)
    credits = f"{total:,} credit" if total == 1 else f"{total:,} credits"
    card.text(WIDTH - _MARGIN, _TITLE_AT, credits, _TITLE, DAY, ha="right", weight="bold")
    width = WIDTH - 2 * _MARGIN - card.width(credits, _TITLE, "bold") - _PANELS_APART
    title = card.shortened(drawable(picture.title), width, _TITLE, "bold")
    card.text(_MARGIN, _TITLE_AT, title, _TITLE, weight="bold")


def _draw_days(card: _Card, days: Sequence[tuple[date, int]]) -> None:
    """Draw a bar for each day, with a figure on the highest and a date under each seventh."""
    axes = card.axes(_DAYS_LEFT, _DAYS_TOP, _DAYS_RIGHT, _DAYS_BOTTOM)
    amounts = [amount for _, amount in days]
    highest = max(amounts, default=0)
    axes.set_xlim(-0.5, max(len(days), 1) - 0.5)
    axes.set_ylim(0, max(highest, 1) * 1.2)  # space for the figure above the highest bar
    day_width = (_DAYS_RIGHT - _DAYS_LEFT) / max(len(days), 1)
    # Broad lines are one artist; a patch for each bar takes 30 ms longer.
    axes.vlines(range(len(days)), 0, amounts, color=DAY, linewidth=0.72 * day_width, zorder=2)
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda amount, _: short(round(amount))))
    axes.tick_params(axis="y", labelsize=_TICK, labelcolor=QUIET, pad=_GAP)
    axes.grid(axis="y", color=GRID, linewidth=1.5)
    axes.axhline(0, color=QUIET, linewidth=3)
    axes.set_xticks([])
    # From the last day backwards: it matters most.
    for n in range(len(days) - 1, -1, -7):
        middle = _DAYS_LEFT + (n + 0.5) * day_width
        day = days[n][0]
        card.text(middle, _DATES_AT, f"{day.day} {day:%b}", _TICK, QUIET, ha="center")
    if highest:
        at = amounts.index(highest)
        axes.annotate(
            short(highest),
            (at, highest),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            size=_TICK,
            color=TEXT,
        )


def _draw_panel(
    card: _Card, left: int, heading: str, bars: Sequence[tuple[str, int]], colour: str
) -> None:
    """Draw rows of label, bar and figure."""
    card.text(left, _HEADING_AT, heading, _HEADING, weight="bold")
    if not bars:
        card.text(left, _ROWS_TOP + 0.7 * _ROW, "Nothing yet.", _LABEL, QUIET)
        return
    first, last = left + _NAME + _GAP, left + _PANEL - _AMOUNT - _GAP
    axes = card.axes(first, _ROWS_TOP, last, _ROWS_TOP + len(bars) * _ROW)
    most = max(1, *(amount for _, amount in bars))
    axes.set_axis_off()
    axes.set_xlim(0, most)
    axes.set_ylim(len(bars) - 0.5, -0.5)
    # Even the smallest use is visible: 2 pixels.
    shown = [max(amount / most, 2 / (last - first)) * most if amount else 0 for _, amount in bars]
    axes.hlines(range(len(bars)), 0, shown, color=colour, linewidth=0.66 * _ROW)
    for row, (label, amount) in enumerate(bars):
        baseline = _ROWS_TOP + (row + 0.5) * _ROW + _LABEL * _CAP_HEIGHT / 2
        name = drawable(label) or f"No. {row + 1}"
        card.text(left, baseline, card.shortened(name, _NAME, _LABEL), _LABEL)
        end = first + shown[row] / most * (last - first) + _GAP
        card.text(end, baseline, short(amount), _LABEL, QUIET)


# --- the process ----------------------------------------------------------------------------------


def serve(jobs: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line until stdin ends."""
    for line in iter(jobs.readline, b""):
        png = plot(UsagePicture.from_line(line))
        answers.write(b"%d\n" % len(png) + png)
        answers.flush()


def main() -> None:
    """Serve the bot, which ends this when it ends."""
    # It would warn that a font lacks bold, or that searching fonts takes long.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    gc.freeze()  # rescanning what was imported takes up to 40 ms
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the bot's children too
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
