"""The picture of usage: its pixels, and the child process that draws it."""

import asyncio
import gc
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageColor

from services.audio import transcoder
from services.reports import usage_picture, usage_plot
from services.reports.usage_picture import CannotDraw, UsageArtist, UsagePicture
from services.reports.usage_plot import (
    BORDER,
    CARD,
    DAY,
    GENRE,
    MEMBER,
    QUIET,
    TEXT,
    drawable,
    plot,
    short,
)

FIRST = date(2026, 10, 22)
DISCORD_DARK, DISCORD_LIGHT = "#313338", "#ffffff"
Colour = tuple[int, int, int]


def month(*last: int) -> list[tuple[date, int]]:
    """Thirty days without use, but for the last ones."""
    amounts = [0] * (30 - len(last)) + list(last)
    return [(FIRST + timedelta(days=n), amount) for n, amount in enumerate(amounts)]


def a_picture(
    title: str = "Usage of the last 30 days",
    days: list[tuple[date, int]] | None = None,
    members: tuple[tuple[str, int], ...] = (("Ada", 300), ("Bob", 150), ("Cleo", 0)),
    genres: tuple[tuple[str, int], ...] = (("synthwave", 400), ("polka", 1)),
) -> UsagePicture:
    return UsagePicture(title, month(100, 50, 0, 200) if days is None else days, members, genres)


def decoded(png: bytes) -> Image.Image:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.convert("RGBA")


def rgb(colour: str) -> Colour:
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return red, green, blue


def rgb_of(found: object) -> Colour:
    """Return a pixel's colour without its alpha."""
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def pixel(image: Image.Image, x: float, y: float) -> Colour:
    return rgb_of(image.getpixel((int(x), int(y))))


def colours(image: Image.Image) -> set[Colour]:
    """All colours that occur, without alpha."""
    counted = image.convert("RGB").getcolors(maxcolors=image.width * image.height)
    assert counted
    return {rgb_of(colour) for _, colour in counted}


def luminance(colour: Colour) -> float:
    """WCAG 2.2, "relative luminance"."""
    parts = [c / 255 for c in colour]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """WCAG 2.2, "contrast ratio": 4.5 is its minimum for text, 3 for graphics."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


# --- what it shows --------------------------------------------------------------------------------


def test_full_picture_has_a_size_that_discord_shows_sharp() -> None:
    bars = tuple((f"Number {n}", 1_000 // n) for n in range(1, 11))
    png = plot(a_picture(days=month(*range(30)), members=bars, genres=bars))
    width, height = decoded(png).size
    assert (width, height) == (1_100, 714)
    # Shown at 550 by 350 at most: text of 22 pixels is read as some 11.
    assert min(550 / width, 350 / height) * 22 > 10.5
    assert len(png) < 150_000


@pytest.mark.parametrize("background", [DISCORD_DARK, DISCORD_LIGHT])
def test_text_is_readable_on_both_themes(background: str) -> None:
    card = decoded(plot(a_picture()))
    seen = Image.new("RGBA", card.size, background)
    seen.alpha_composite(card)
    assert pixel(seen, 0, 0) == rgb(background)  # round corners
    title = seen.crop((40, 35, 500, 70))
    ground = pixel(seen, 20, 50)
    assert max(contrast(colour, ground) for colour in colours(title)) > 12
    assert contrast(rgb(QUIET), ground) > 7
    border = pixel(seen, 1, card.height / 2)
    assert contrast(border, rgb(background)) > 1.5
    assert border == rgb(BORDER)


@pytest.mark.parametrize("colour", [DAY, MEMBER, GENRE, QUIET, TEXT])
def test_each_colour_contrasts_with_the_card(colour: str) -> None:
    assert contrast(rgb(colour), rgb(CARD)) > 7


def heights(card: Image.Image) -> list[int]:
    """The height of each day's bar in pixels, of thirty."""
    left, right = usage_plot._DAYS_LEFT, usage_plot._DAYS_RIGHT
    middles = [left + (n + 0.5) * (right - left) / 30 for n in range(30)]
    rows = range(usage_plot._DAYS_TOP, usage_plot._DAYS_BOTTOM)
    return [sum(pixel(card, x, y) == rgb(DAY) for y in rows) for x in middles]


def test_a_days_bar_is_as_high_as_its_use() -> None:
    found = heights(decoded(plot(a_picture(days=month(100, 50, 0, 200)))))
    assert found[:26] == [0] * 26
    full = found[29]
    assert full > 120
    assert found[26:] == [pytest.approx(part * full, abs=2) for part in (0.5, 0.25, 0, 1)]


def lengths(card: Image.Image, colour: str, left: int, rows: int) -> list[int]:
    """The length of each row's bar in pixels."""
    across = range(left, left + usage_plot._PANEL)
    middles = [usage_plot._ROWS_TOP + (n + 0.5) * usage_plot._ROW for n in range(rows)]
    return [sum(pixel(card, x, y) == rgb(colour) for x in across) for y in middles]


def test_bars_are_as_long_as_their_use_and_the_smallest_use_is_seen() -> None:
    card = decoded(plot(a_picture()))
    members = lengths(card, MEMBER, 40, 3)
    assert members == [members[0], pytest.approx(members[0] / 2, abs=1), 0]
    genres = lengths(card, GENRE, 570, 2)
    assert genres[0] == members[0] > 150
    assert 1 <= genres[1] <= 2


def test_picture_without_usage_says_so() -> None:
    for nothing in (a_picture(days=month(), members=(), genres=()), UsagePicture("", [], [], [])):
        card = decoded(plot(nothing))
        assert card.size == (1_100, 260)
        middle = card.crop((200, 120, 900, 200))
        assert rgb(TEXT) in colours(middle)
        assert rgb(DAY) not in colours(middle)


def test_panel_without_usage_says_so() -> None:
    card = decoded(plot(a_picture(genres=())))
    right = card.crop((560, usage_plot._ROWS_TOP, 1_060, usage_plot._ROWS_TOP + usage_plot._ROW))
    assert rgb(QUIET) in colours(right)
    assert lengths(card, MEMBER, 40, 1)[0] > 150


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (1_234_567, "1.23M"),
        (10**9, "1bn"),
        (45_600_000_000, "45.6bn"),
        (10**12, "1tn"),
        (10**15, "1.0e15"),
        (2**63 - 1, "9.2e18"),
    ],
)
def test_amounts_are_short(amount: int, shown: str) -> None:
    assert short(amount) == shown


def test_huge_amounts_stay_in_their_columns() -> None:
    huge = 2**63 - 1
    card = decoded(
        plot(
            a_picture(
                title="W" * 100,
                days=month(*[huge] * 30),
                members=(("Ada", huge),),
                genres=(("pop", 999_000),),
            )
        )
    )
    gap = card.crop((40 + usage_plot._PANEL, usage_plot._ROWS_TOP, 570, card.height - 30))
    assert colours(gap) == {rgb(CARD)}
    beside = card.crop((card.width - 38, 30, card.width - 5, 80))
    assert colours(beside) == {rgb(CARD)}
    axis = card.crop((5, 90, 30, 300))
    assert colours(axis) == {rgb(CARD)}


# --- labels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", ["i" * 100, "wide words " * 9, "ש" * 100])
def test_a_long_label_ends_before_its_bar(label: str) -> None:
    card = decoded(plot(a_picture(members=((label, 5),))))
    end = 40 + usage_plot._NAME
    row = (usage_plot._ROWS_TOP, usage_plot._ROWS_TOP + usage_plot._ROW)
    assert colours(card.crop((end + 1, row[0], end + usage_plot._GAP, row[1]))) == {rgb(CARD)}
    assert rgb(TEXT) in colours(card.crop((end - 40, row[0], end, row[1])))


LABELS = {
    "Zoë": "Zoë",
    "$\\frac{ $x^2$ \\$": "$\\frac{ $x^2$ \\$",  # mathtext, were it on
    "two\nlines\tand  more ": "two lines and more",
    "\x00\x07bell\x1b[31m": "bell[31m",
    "\u202eevil\u2066": "evil",  # would turn its neighbours around
    "\ud800half": "half",
    "محمد": "محمد",
    "\U0001f468\u200d\U0001f469\ufe0f Ann": "Ann",  # no outline for these two
    "a" + "\u0323" * 40: "\u1ea1\u0323\u0323\u0323",
    "\u3164\u3164": "",  # a filler that passes for a name
    "\U0010ffff": "",
}
"""Labels, and what of them Matplotlib's own fonts can draw."""


@pytest.mark.parametrize("label", LABELS)
def test_undrawable_characters_are_left_out(
    label: str, monkeypatch: pytest.MonkeyPatch, fresh_fonts: None
) -> None:
    monkeypatch.setattr(usage_plot, "_OTHER_FONTS", ())
    assert drawable(label) == LABELS[label]


def test_labels_are_drawn_without_undrawable_characters() -> None:
    bars = tuple((label, 5) for label in LABELS)[:10]
    clean = tuple((drawable(label), 5) for label, _ in bars)
    assert plot(a_picture(members=bars, genres=bars)) == plot(
        a_picture(members=clean, genres=clean)
    )


@pytest.fixture
def fresh_fonts() -> Iterator[None]:
    """Clear the caches of fonts before and after."""
    caches = (usage_plot._family_of, usage_plot._installed_fonts)
    for each in caches:
        each.cache_clear()
    yield
    for each in caches:
        each.cache_clear()


def test_another_font_draws_missing_characters(
    monkeypatch: pytest.MonkeyPatch, fresh_fonts: None
) -> None:
    lacking = "\u29b7"  # a circled parallel, which comes with Matplotlib's STIX
    monkeypatch.setattr(usage_plot, "_OTHER_FONTS", ("Not Installed", "STIXGeneral"))
    assert drawable(f"a{lacking}b") == f"a{lacking}b"
    with_it = plot(a_picture(members=((lacking, 5),)))
    monkeypatch.setattr(usage_plot, "_OTHER_FONTS", ("Not Installed",))
    usage_plot._family_of.cache_clear()
    usage_plot._installed_fonts.cache_clear()
    assert drawable(f"a{lacking}b") == "ab"
    assert plot(a_picture(members=((lacking, 5),))) != with_it


def test_undrawable_name_is_replaced_by_its_number() -> None:
    nameless = plot(a_picture(members=(("Ada", 9), ("\U0010ffff", 5))))
    assert nameless == plot(a_picture(members=(("Ada", 9), ("No. 2", 5))))


@settings(max_examples=6)
@given(st.text(max_size=40))
def test_any_label_is_drawn(label: str) -> None:
    shown = drawable(label)
    assert shown == " ".join(shown.split())
    assert plot(a_picture(title=label, members=((label, 5),), genres=((label, 5),)))


# --- the child's side -----------------------------------------------------------------------------


def test_picture_survives_its_line_of_json() -> None:
    picture = a_picture(members=(("\ud800 \n 漢字", 10**15),))
    line = picture.to_line()
    assert line.count(b"\n") == 1
    again = UsagePicture.from_line(line)
    assert again == UsagePicture(
        picture.title, picture.days, list(picture.members), list(picture.genres)
    )


def test_the_child_answers_each_line_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = io.BytesIO(a_picture().to_line() * 2)
    answers = io.BytesIO()
    ignored: list[object] = []
    monkeypatch.setattr(gc, "freeze", lambda: None)  # these tests leave garbage
    monkeypatch.setattr(signal, "signal", lambda *to: ignored.append(to))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=jobs))
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(buffer=answers))
    usage_plot.main()
    assert ignored == [(signal.SIGINT, signal.SIG_IGN)]
    size, _, rest = answers.getvalue().partition(b"\n")
    assert decoded(rest[: int(size)]).width == 1_100
    assert rest[int(size) :] == answers.getvalue()[: len(answers.getvalue()) // 2]


# --- the bot's side -------------------------------------------------------------------------------

Run = Callable[[str], None]
Pids = asyncio.Queue[int]
ANSWERS = "import os\nwhile os.read(0, 65536): os.write(1, b'3\\nPNG')"
HANGS = "import os\nwhile os.read(0, 65536): pass"


@pytest.fixture
def child_runs(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Replace the child's program by Python code."""

    def replace(code: str) -> None:
        program = (sys.executable, "-S", "-E", "-c", code)
        monkeypatch.setattr(usage_picture, "_PROGRAM", program)

    return replace


@pytest.fixture
def pids(monkeypatch: pytest.MonkeyPatch) -> Pids:
    """Collect the process ids of children."""
    pids: Pids = asyncio.Queue()
    start = usage_picture._Child.start

    async def started(cache: Path) -> usage_picture._Child:
        child = await start(cache)
        pids.put_nowait(child._process.pid)
        return child

    monkeypatch.setattr(usage_picture._Child, "start", started)
    return pids


@pytest.fixture
async def artist(tmp_path: Path) -> AsyncIterator[UsageArtist]:
    made = UsageArtist(tmp_path / "fonts")
    yield made
    await made.close()


def pid_of(artist: UsageArtist) -> int:
    assert artist._child
    return artist._child._process.pid


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_real_child_draws_and_stays_warm(
    artist: UsageArtist, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = await artist.draw(a_picture())
    pid = pid_of(artist)
    assert await artist.draw(a_picture()) == first == plot(a_picture())
    assert pid_of(artist) == pid
    assert os.getpriority(os.PRIO_PROCESS, pid) == usage_picture._NICENESS < transcoder._NICENESS
    assert list((tmp_path / "fonts").glob("fontlist*.json"))
    await artist.close()
    assert is_gone(pid)
    assert not caplog.records  # nor has it anything to complain of


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it is read from /proc")
async def test_child_gets_no_secrets(
    artist: UsageArtist, monkeypatch: pytest.MonkeyPatch, child_runs: Run
) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", "a-secret")
    child_runs(ANSWERS)
    await artist.draw(a_picture())
    environment = await asyncio.to_thread(Path(f"/proc/{pid_of(artist)}/environ").read_bytes)
    assert b"MPLCONFIGDIR=" in environment
    assert b"a-secret" not in environment


def test_the_bot_never_imports_matplotlib() -> None:
    code = "import services.reports.usage_picture, sys; sys.exit('matplotlib' in sys.modules)"
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit('x' * 100_000 + 'it broke')",
        "print('no number', flush=True); import time; time.sleep(60)",
        "print(0, flush=True); import time; time.sleep(60)",
        "print(10**9, flush=True); import time; time.sleep(60)",
        "print('9' * 100_000, flush=True); import time; time.sleep(60)",
        "print('1000\\nshort', flush=True)",
    ],
    ids=["dies", "malformed", "nothing", "too large", "endless", "half"],
)
async def test_a_child_that_fails_is_one_error_and_the_next_one_draws(
    code: str,
    artist: UsageArtist,
    caplog: pytest.LogCaptureFixture,
    child_runs: Run,
) -> None:
    child_runs(code)
    with pytest.raises(CannotDraw, match="ended, or answered something malformed"):
        await artist.draw(a_picture())
    assert artist._child is None
    if "it broke" in code:
        assert caplog.messages[-1].endswith("it broke")
        assert len(caplog.messages[-1]) < 5_000
    child_runs(ANSWERS)
    assert await artist.draw(a_picture()) == b"PNG"


async def test_no_process_can_be_started(
    artist: UsageArtist, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(usage_picture, "_PROGRAM", (str(tmp_path / "missing"),))
    with pytest.raises(CannotDraw, match="can't be started"):
        await artist.draw(a_picture())


async def test_a_warm_child_that_was_killed_is_replaced(
    artist: UsageArtist, child_runs: Run
) -> None:
    child_runs(ANSWERS)
    await artist.draw(a_picture())
    pid = pid_of(artist)
    assert artist._child
    os.kill(pid, signal.SIGKILL)
    await artist._child._process.wait()
    assert await artist.draw(a_picture()) == b"PNG"
    assert pid_of(artist) != pid


async def test_a_child_that_hangs_is_ended_by_the_deadline(
    tmp_path: Path, child_runs: Run, pids: Pids
) -> None:
    child_runs(HANGS)
    artist = UsageArtist(tmp_path, patience=0.3)
    # The second one's patience ends while it waits for its turn.
    answers = await asyncio.gather(
        artist.draw(a_picture()), artist.draw(a_picture()), return_exceptions=True
    )
    assert [str(answer) for answer in answers] == ["no picture within 0 s"] * 2
    assert is_gone(pids.get_nowait())
    await artist.close()


async def test_a_cancelled_picture_leaves_no_process(
    artist: UsageArtist, child_runs: Run, pids: Pids
) -> None:
    child_runs(HANGS)
    drawing = asyncio.create_task(artist.draw(a_picture()))
    pid = await pids.get()
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert is_gone(pid)
    child_runs(ANSWERS)
    assert await artist.draw(a_picture()) == b"PNG"


async def test_an_idle_child_is_ended_and_the_next_picture_starts_one(
    tmp_path: Path, child_runs: Run, pids: Pids
) -> None:
    child_runs(ANSWERS)
    artist = UsageArtist(tmp_path, linger=0)
    await artist.draw(a_picture())
    assert artist._retiring
    await artist._retiring
    assert is_gone(pids.get_nowait())
    assert await artist.draw(a_picture()) == b"PNG"
    assert not pids.empty()
    await artist.close()


async def test_closing_fails_pending_pictures(
    artist: UsageArtist, child_runs: Run, pids: Pids
) -> None:
    child_runs(HANGS)
    drawing = [asyncio.create_task(artist.draw(a_picture())) for _ in range(3)]
    pid = await pids.get()
    await artist.close()
    answers = await asyncio.gather(*drawing, return_exceptions=True)
    assert all(isinstance(answer, CannotDraw) for answer in answers)
    assert is_gone(pid)
    assert pids.empty()


async def test_closing_while_a_child_is_started_ends_it(
    artist: UsageArtist, child_runs: Run, pids: Pids
) -> None:
    child_runs(HANGS)
    drawing = asyncio.create_task(artist.draw(a_picture()))
    await asyncio.sleep(0)  # it has begun to start one
    await artist.close()
    with pytest.raises(CannotDraw, match="closed"):
        await drawing
    assert pids.empty() or is_gone(pids.get_nowait())
    with pytest.raises(CannotDraw, match="closed"):
        await artist.draw(a_picture())
