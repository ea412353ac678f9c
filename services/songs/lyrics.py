"""Normalise the lyrics that people paste: headings become tags, and what is not sung is removed.

The model reads a line that begins with a bracket as a tag, and sings every other line (ACE-Step's
own tokenizer; ACE-Step-1.5 issues 180 and 1153). So each tag gets a separate line, by the name that
the model knows, and other lines have only words. What is not certainly a heading stays a line.

No library does this: those for lyrics read one form each (LRC, ChordPro), and none knows headings.
"""

import re
import unicodedata
from collections.abc import Iterator

_BARE, _MARKED, _BRACKETED = range(3)
"""How clearly a heading is written: as a plain line, in parentheses or bold, in brackets or `#`."""

_NAMES: dict[int, dict[str, str]] = {
    # These are not sung as a line.
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
    # These are also common words.
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
"""The number of a Chinese or Japanese heading, which has no space before it."""
_SINGERS = (
    " all both everyone everybody together duet choir male female men women boys girls vocal "
    "vocals spoken whispered alle beide zusammen tous toutes ensemble todos todas juntos tutti "
    "insieme все вместе 合 合唱 男 女 男女 齐 齊 全员 全員 모두 다같이 함께 "
)
"""Who sings, or how, except people's names."""
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
    """Return a name's letters, without case, accents, hyphens, spaces and numbers."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(c for c in decomposed if c.isalpha())


_CERTAINTY = {
    _key(name): (certainty, f"[{tag}]")
    for certainty, tags in reversed(_NAMES.items())
    for tag, names in tags.items()
    for name in [tag, *names.split()]
}


def normalise(text: str) -> str:
    """Return lyrics as they are sent: tags on separate lines, and words.

    Applied to its own result it changes nothing. No pattern backtracks further than 120 characters,
    so 4,000 hostile ones take some 20 ms. A mark of repetition, `(x2)`, is removed and nothing is
    repeated: it does not say whether it means a line or a section. `text` has only `\\n` for line
    breaks (`services.text.clean`).
    """
    # Twice: a heading in bold is known by its marks, and others are found once marks are removed.
    return _sections(_without_emphasis(_sections(text))).strip()


def _sections(text: str) -> str:
    return "\n".join(piece for line in text.split("\n") for piece in _pieces(line))


def _pieces(line: str) -> Iterator[str]:
    """Yield the lines that a line becomes: none if nothing in it is sung or a tag."""
    line = " ".join(_TIME.sub(" ", line).split())
    if not line:
        yield ""
        return
    text, after_tag = "", False
    for token in _BRACKET.split(line):
        tag, inner = None, token[1:-1].strip()
        if _BRACKET.fullmatch(token):
            tag = _tag(inner.removeprefix("/"), _BRACKETED, labelled=True)
        if tag is None:
            text += token
            continue
        yield from _lines(text, next_to_tag=True)
        if not inner.startswith("/"):  # the end of a section
            yield tag
        text, after_tag = "", True
    yield from _lines(text, next_to_tag=after_tag)


def _lines(text: str, *, next_to_tag: bool) -> Iterator[str]:
    """Yield words, and headings without brackets before them or instead of them."""
    if next_to_tag:
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
    """Return the tag of a heading before words, as in `Chorus: la la`, and those words."""
    if found := _PARENTHESES.match(text):
        tag = _tag(found[1], _BARE)
    elif found := _BEGINNING.match(text):
        # A dash is also a pause: it needs a number before it.
        sure = text[found.end() - 1] != " " or any(c.isdigit() for c in found[1])
        tag = _tag(found[1], _BARE) if sure else None
    return (tag, text[found.end() :].lstrip(" :\uff1a")) if found and tag else None


def _heading(line: str) -> str | None:
    """Return the tag that a complete line means, if it is certainly a heading."""
    if len(line) > _LONGEST_HEADING:
        return None
    certainty = _BARE
    if found := _HASHES.match(line):
        line, certainty = line[found.end() :], _BRACKETED
    elif found := _LIST_MARK.match(line):
        line = line[found.end() :]
    framed = line.rstrip(" :\uff1a") or " "
    if all(_is_ornament(c) and c not in " .\u2026" for c in (framed[0], framed[-1])):
        certainty = max(certainty, _MARKED)
    line = _SQUARE_LABEL.sub("", _without_repeats(_without_ornaments(line)))
    if line.endswith((":", "\uff1a")):
        line, certainty = _without_ornaments(line[:-1]), _BRACKETED
    if found := _PARENTHESES.fullmatch(line):
        return _tag(found[1], max(certainty, _MARKED), labelled=True)
    return _tag(line, certainty)


def _without_ornaments(line: str) -> str:
    start, end = 0, len(line)
    while start < end and _is_ornament(line[start]):
        start += 1
    while start < end and _is_ornament(line[end - 1]):
        end -= 1
    return line[start:end]


def _is_ornament(c: str) -> bool:
    """Return whether a character decorates a heading: emphasis, a dash, a star, an emoji."""
    return c in " *#.\u2022\u2026\ufe0f\u200d" or unicodedata.category(c) in _ORNAMENTS


def _tag(text: str, certainty: int, *, labelled: bool = False) -> str | None:
    """Return the tag that a heading's text means.

    `labelled`: any text after the name says who sings, or how, as in `Verse 1: X`. Otherwise that
    needs parentheses, and a number or a word for singers: `Verse 1 (X)`.
    """
    name = unicodedata.normalize("NFKC", text[:_LONGEST_HEADING]).strip().casefold()
    if found := (_LABEL if labelled else _PARENTHESES_LAST).search(name):
        before, label = name[: found.start()], name[found.end() : -1]
        numbered = f" {label} " in _NUMBERS
        singers = all(f" {word} " in _SINGERS for word in re.split(r"[ ,&+/]+", label))
        if labelled or numbered or any(map(str.isdigit, before)) or singers:
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
    if _key(name) not in _CERTAINTY:
        name = _ATTACHED_NUMBER.sub("", name)
    if digits > 2 or not all(
        c.isalnum() or c in " -_.#'\u2019" or unicodedata.category(c)[0] == "M" for c in name
    ):
        return None
    needed, tag = _CERTAINTY.get(_key(name), (len(_NAMES), ""))
    return tag if needed <= certainty + (digits > 0 and needed == _MARKED) else None


def _without_emphasis(text: str) -> str:
    """Remove Markdown's marks of emphasis and code where they come in pairs around words.

    A mark inside of a word is none: `f*ck this sh*t`.
    """
    text = _FENCE_MARK.sub(" ", text)
    runs = list(_EMPHASIS.finditer(text))
    opened: dict[str, list[int]] = {}
    removed: set[int] = set()
    for number, run in enumerate(runs):
        before, after = text[max(0, run.start() - 1) : run.start()], text[run.end() : run.end() + 1]
        opening = opened.get(run[0][::-1])
        if opening and not _is_blank(before) and _is_edge(after):
            removed |= {opening.pop(), number}
        elif _is_edge(before) and not _is_blank(after):
            opened.setdefault(run[0], []).append(number)
    parts, end = [], 0
    for number in sorted(removed):
        parts.append(text[end : runs[number].start()])
        end = runs[number].end()
    return "".join([*parts, text[end:]])


def _is_blank(c: str) -> bool:
    return not c or c.isspace() or unicodedata.category(c)[0] == "M"


def _is_edge(c: str) -> bool:
    """Return whether a word may end or begin here. Scripts from Han on use no spaces."""
    if not c or c.isspace() or c >= "\u2e80":
        return True
    return unicodedata.category(c)[0] == "P" and c != "\\"  # `\\n` is a line break
