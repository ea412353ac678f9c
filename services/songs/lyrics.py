"""Lyrics as people paste them: section headings become tags, and what is not sung goes.

The model reads a line that begins with a bracket as a tag, the whole of it, and sings every other
line (ACE-Step's own tokenizer; ACE-Step-1.5 issues 180 and 1153). So each tag is on a
separate line, by the name that the model knows, and only words stand on the others. What is not
certainly a heading stays a line.

No library does this: those for lyrics read one form each (LRC, ChordPro), and none knows headings.
"""

import re
import unicodedata
from collections.abc import Iterator

_BARE, _MARKED, _BRACKETED = range(3)
"""How clearly a heading is written: as a plain line, in parentheses or bold, in brackets or `#`."""

_NAMES: dict[int, dict[str, str]] = {
    # Nobody sings these alone on a line.
    _BARE: {
        "intro": "интро 인트로 イントロ introducción introdução introduzione einleitung wstęp",
        "verse": "strophe couplet estrofa estrofe strofa strofă zwrotka sloka versszak säkeistö "
        "куплет κουπλέ 主歌 aメロ ヴァース 벌스 मुखड़ा अंतरा",
        "pre-chorus": "pre-refrain pré-refrão pre-ritornello pre-estribillo pre-coro pre-refren "
        "przedrefren предприпев передприспів 导歌 導歌 预副歌 預副歌 bメロ "
        "プリコーラス プレコーラス 프리코러스",
        "chorus": "refrain kehrvers estribillo refrão ritornello refren refrein refräng refreng "
        "omkvæd kertosäe nakarat припев приспів прыпеў рефрен ρεφρέν 副歌 サビ 大サビ ラスサビ "
        "落ちサビ コーラス 후렴 후렴구 코러스 điệp-khúc ท่อนฮุก",
        "post-chorus": "post-refrain pós-refrão постприпев",
        "bridge": "бридж 桥段 橋段 cメロ dメロ ブリッジ 브릿지 브리지 middle-eight",
        "interlude": "zwischenspiel интерлюдия 间奏 間奏 インタールード 간주",
        "instrumental": "instrumental-break",
        "guitar solo": "gitarrensolo solo-de-guitarra solo-de-guitare гитарное-соло ギターソロ",
        "piano solo": "klaviersolo",
        "saxophone solo": "sax-solo",
        "bass solo": "",
        "drum solo": "",
        "outro": "аутро 아웃트로 アウトロ 尾奏 后奏 後奏",
    },
    # These are words too, or parts of talk.
    _MARKED: {
        "intro": "opening вступление вступ vorspiel 前奏 전주",
        "verse": "vers verso verset 番 절",
        "chorus": "hook coro хук 훅 싸비 사비",
        "bridge": "brücke puente ponte",
        "interlude": "interludio проигрыш програш väliosa",
        "instrumental": "inst",
        "outro": "ending nachspiel концовка 尾声 尾聲 结尾 結尾",
    },
    # "Solo" is Spanish for alone, "most" Polish for bridge.
    _BRACKETED: {
        "bridge": "pont brug most мост brygga köprü",
        "solo": "соло",
        "break": "",
        "drop": "",
        "breakdown": "",
        "outro": "end coda кода final fin финал",
        "rap": "",
    },
}
_MODIFIERS = (
    " final last first second third repeat double 1st 2nd 3rd 4th 1er 2e 2ème 1ª 2ª 1º 2º "
    "primera segunda erste zweite letzte letzter dernier último última premier deuxième ultimo "
    "primeira prima seconda первый второй третий последний финальный "
)
_NUMBERS = " one two three four i ii iii iv v a b c d no n 一 二 三 四 final "
_ATTACHED_NUMBER = re.compile(
    r"\A[0-9]{1,2}番 ?(?=.)|(?<=[\u3040-\u9fff])(?:[一二三四五六七八九十]{1,2}|[a-d])\Z"
)
"""Of a Chinese or Japanese name, which has no space before it."""
_SINGERS = (
    " all both everyone everybody together duet choir male female men women boys girls vocal "
    "vocals spoken whispered alle beide zusammen tous toutes ensemble todos todas juntos tutti "
    "insieme все вместе 合 合唱 男 女 男女 齐 齊 全员 全員 모두 다같이 함께 "
)
"""Who sings, or how, in words that are no person's name."""
_LONGEST_HEADING = 100
_ORNAMENTS = ("Sc", "Sk", "Sm", "So", "Pc", "Pd")
"""Unicode's categories of symbols, dashes and connectors."""
_MARKS = "*_~`"

_OPENS, _CLOSES = r"\[【\uff3b\u3014〖《〈{<\uff5b\uff1c", r"\]】\uff3d\u3015〗》〉}>\uff5d\uff1e"
_BRACKET = re.compile(rf"([{_OPENS}][^{_OPENS}{_CLOSES}\n]{{1,120}}[{_CLOSES}])")
_FIRST_BRACKET = re.compile(r"(\[[^\[\]\n]{1,120}\])(?=.)")
_PARENTHESES = re.compile(r"[(\uff08]([^()\uff08\uff09\n]{1,100})[)\uff09]")
_BEGINNING = re.compile(r"([^:\uff1a\n]{1,40}?)(?:[:\uff1a](?![0-9])| [-\u2013\u2014] )")
_LABEL = re.compile(r"[:|,(]| [-~] |[\u2013\u2014]")
_PARENTHESES_LAST = re.compile(r" ?\((?=[^()]*\)\Z)")
_HASHES = re.compile(r"#{1,6} ")
_LIST_MARK = re.compile(r"[-*+>\u2022\u00b7] ")
_NUMBERING = re.compile(r"[0-9]{1,2}[.)]")
_SQUARE_LABEL = re.compile(r" ?\[[^\[\]]*\]\Z")
_COUNT = r"[0-9]{1,2} ?(?:times|раза?|\u0440\.?|fois|mal|veces|vezes|volte|razy|kez|回|遍|次)"
_AFTER_A_NAME = re.compile(rf"(?:(?:: | )?(?:repeat )?{_COUNT}| (?:repeat|twice|bis|дважды))\Z")
_X = r"x\u00d7\u0445"  # the last is Cyrillic
_TIMES = (
    rf"(?:repeat )?(?:[{_X}*] ?[0-9]{{1,2}}|[0-9]{{1,2}} ?[{_X}]|{_COUNT})"
    "|repeat|twice|bis|дважды"
)
_IN_BRACKETS = rf"[(\[\uff08【\uff3b] ?(?:{_TIMES}) ?[)\]\uff09】\uff3d]"
_REPEAT_FIRST = re.compile(_IN_BRACKETS, re.IGNORECASE)
_REPEAT_LAST = re.compile(
    rf"(?:{_IN_BRACKETS}|(?<!\S)(?:[{_X}][0-9]{{1,2}}|[0-9]{{1,2}}[x\u00d7])"
    r"|(?<=\S)[0-9]{1,4}Embed)\Z",  # the end of a copied page of Genius
    re.IGNORECASE,
)
_LONGEST_REPEAT = 24

_TIME = re.compile(r"[\[<][0-9]{1,3}:[0-9]{2}(?:[.:][0-9]{1,3}){0,2}[\]>]")
_NOT_SUNG = re.compile(
    r"\[(?:ti|ar|al|au|lr|by|re|ve|id|length|offset|tool|#) ?:[^\]]*\]"  # LRC's header
    r"|(?:作[词詞曲]|[编編]曲) ?[:\uff1a].*"  # who wrote it, in Chinese and Japanese LRC files
    r"|`{3,} ?[A-Za-z0-9_+-]*|~{3,}"
    # What a copied page of Genius brings (genius-lyrics 36, LyricsReloaded 11).
    r"|[0-9]* ?contributors?(?:translations)?.* lyrics|you might also like|[0-9]*embed"
    r"|(?:see .{1,80} ?live ?)?get tickets as low as .{1,20}",
    re.IGNORECASE,
)
_FENCE_MARK = re.compile(r"`{3,}")
_EMPHASIS = re.compile(rf"[{_MARKS}]+")


def _key(name: str) -> str:
    """A name's letters alone: without case, accents, hyphens, spaces and numbers."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c.isalpha())


_SURENESS = {
    _key(name): (sureness, f"[{tag}]")
    for sureness, tags in reversed(_NAMES.items())
    for tag, names in tags.items()
    for name in [tag, *names.split()]
}


def normalised(text: str) -> str:
    """Lyrics as they are sent: tags on separate lines, and words.

    Applied to its own result it changes nothing. No pattern backtracks further than 120 characters,
    so that 4,000 hostile ones take some 20 ms. A mark of repetition, `(x2)`, goes without anything
    being repeated: whether it means a line or a section is not said. `text` has only `\\n` for line
    breaks (`services.songs.song_request.clean`).
    """
    # Twice: a heading in bold is known by its marks, and others are found once marks are gone.
    return _sections(_without_emphasis(_sections(text))).strip()


def _sections(text: str) -> str:
    return "\n".join(piece for line in text.split("\n") for piece in _pieces(line))


def _pieces(line: str) -> Iterator[str]:
    """The lines that a line comes to: none where nothing of it is sung or a tag."""
    line = " ".join(_TIME.sub(" ", line).split())
    if not line:
        yield ""
        return
    text, beside_a_tag = "", False
    for token in _BRACKET.split(line):
        tag = _of_bracket(token)
        if tag is None:
            text += token
            continue
        yield from _lines(text, beside_a_tag=True)
        if tag:
            yield tag
        text, beside_a_tag = "", True
    yield from _lines(text, beside_a_tag=beside_a_tag)


def _of_bracket(token: str) -> str | None:
    """The tag that a bracket means: nothing where it closes a section, None if it is none."""
    if not _BRACKET.fullmatch(token):
        return None
    inner = token[1:-1].strip()
    tag = _tag(inner.removeprefix("/"), _BRACKETED, labelled=True)
    return "" if tag and inner.startswith("/") else tag


def _lines(text: str, *, beside_a_tag: bool) -> Iterator[str]:
    """Words, and the headings without brackets that stand before them or instead of them."""
    if beside_a_tag:
        text = text.strip().lstrip(":\uff1a")
        if not any(map(str.isalnum, text)) or _NUMBERING.fullmatch(text):
            return
    while (text := _without_repeats(text)) and not _NOT_SUNG.fullmatch(text):
        if tag := _heading(text):
            yield tag
            return
        if found := _HASHES.match(text):
            text = text[found.end() :]
        elif found := _FIRST_BRACKET.match(text):
            yield found[1]
            text = text[found.end() :]
        elif begins := _beginning(text):
            yield begins[0]
            text = begins[1]
        else:
            yield text
            return


def _without_repeats(text: str) -> str:
    text = text.strip()
    while found := _REPEAT_FIRST.match(text):
        text = text[found.end() :].lstrip()
    while found := _REPEAT_LAST.search(text[-_LONGEST_REPEAT:]):
        text = text[: len(text) - len(found[0])].rstrip()
    return text


def _beginning(text: str) -> tuple[str, str] | None:
    """The heading that stands before words, as in `Chorus: la la`, and those words."""
    if found := _PARENTHESES.match(text):
        tag = _tag(found[1], _BARE)
    elif found := _BEGINNING.match(text):
        # A dash is also a pause: it needs a number before it.
        sure = text[found.end() - 1] != " " or any(c.isdigit() for c in found[1])
        tag = _tag(found[1], _BARE) if sure else None
    return (tag, text[found.end() :].lstrip(" :\uff1a")) if found and tag else None


def _heading(line: str) -> str | None:
    """The tag that a whole line means, if it is certainly a heading."""
    if len(line) > _LONGEST_HEADING:
        return None
    sureness = _BARE
    if found := _HASHES.match(line):
        line, sureness = line[found.end() :], _BRACKETED
    elif found := _LIST_MARK.match(line):
        line = line[found.end() :]
    if _is_framed(line.rstrip(" :\uff1a")):
        sureness = max(sureness, _MARKED)
    line = _SQUARE_LABEL.sub("", _without_repeats(_without_ornaments(line)))
    if line.endswith((":", "\uff1a")):
        line, sureness = _without_ornaments(line[:-1]), _BRACKETED
    if found := _PARENTHESES.fullmatch(line):
        return _tag(found[1], max(sureness, _MARKED), labelled=True)
    return _tag(line, sureness)


def _is_framed(line: str) -> bool:
    return all(_is_ornament(c) and c not in " .\u2026" for c in (line[:1] or " ", line[-1:] or " "))


def _without_ornaments(line: str) -> str:
    start, end = 0, len(line)
    while start < end and _is_ornament(line[start]):
        start += 1
    while start < end and _is_ornament(line[end - 1]):
        end -= 1
    return line[start:end]


def _is_ornament(c: str) -> bool:
    """Marks of emphasis, dashes, stars, emoji: what is drawn around a heading."""
    return c in " *#.\u2022\u2026\ufe0f\u200d" or unicodedata.category(c) in _ORNAMENTS


def _tag(text: str, sureness: int, *, labelled: bool = False) -> str | None:
    """The tag that a heading's text means.

    `labelled`: whatever stands behind the name says who sings, or how, as in `Verse 1: X`.
    Otherwise that takes parentheses, and a number or a word for singers: `Verse 1 (X)`.
    """
    name = unicodedata.normalize("NFKC", text[:_LONGEST_HEADING]).strip().casefold()
    if found := (_LABEL if labelled else _PARENTHESES_LAST).search(name):
        before, label = name[: found.start()], name[found.end() : -1]
        numbered = f" {label} " in _NUMBERS
        if labelled or numbered or any(map(str.isdigit, before)) or _names_singers(label):
            name = before
    name = _AFTER_A_NAME.sub("", name)
    if name[-2:-1].isdigit():
        name = name.removesuffix(")")  # as in "Verse 1)"
    digits = sum(map(str.isdigit, name))
    words = _without_repeats(name).split()
    while len(words) > 1 and f" {words[0]} " in _MODIFIERS:
        words.pop(0)
    while len(words) > 1 and f" {words[-1].strip('#.')} " in _NUMBERS:
        words.pop()
    name = " ".join(words)
    if _key(name) not in _SURENESS:
        name = _ATTACHED_NUMBER.sub("", name)
    if digits > 2 or not all(map(_may_be_in_a_name, name)):
        return None
    needed, tag = _SURENESS.get(_key(name), (len(_NAMES), ""))
    return tag if needed <= sureness + (digits > 0 and needed == _MARKED) else None


def _names_singers(label: str) -> bool:
    return all(f" {word} " in _SINGERS for word in re.split(r"[ ,&+/]+", label))


def _may_be_in_a_name(c: str) -> bool:
    return c.isalnum() or c in " -_.#'\u2019" or unicodedata.category(c)[0] == "M"


def _without_emphasis(text: str) -> str:
    """Without Markdown's marks of emphasis and code where they come in pairs around words.

    A mark inside of a word is none: `f*ck this sh*t`.
    """
    text = _FENCE_MARK.sub(" ", text)
    runs = list(_EMPHASIS.finditer(text))
    opened: dict[str, list[int]] = {}
    gone: set[int] = set()
    for number, run in enumerate(runs):
        before, after = text[max(0, run.start() - 1) : run.start()], text[run.end() : run.end() + 1]
        opening = opened.get(run[0][::-1])
        if opening and not _is_blank(before) and _is_edge(after):
            gone |= {opening.pop(), number}
        elif _is_edge(before) and not _is_blank(after):
            opened.setdefault(run[0], []).append(number)
    parts, kept = [], 0
    for number in sorted(gone):
        parts.append(text[kept : runs[number].start()])
        kept = runs[number].end()
    return "".join([*parts, text[kept:]])


def _is_blank(c: str) -> bool:
    return not c or c.isspace() or unicodedata.category(c)[0] == "M"


def _is_edge(c: str) -> bool:
    """Whether a word may end or begin here. Scripts from Han on write words without spaces."""
    if not c or c.isspace() or c >= "\u2e80":
        return True
    return unicodedata.category(c)[0] == "P" and c != "\\"  # `\\n` is a line break
