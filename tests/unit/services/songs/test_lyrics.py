"""Lyrics as people paste them: headings, what is sung, and what is neither."""

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from db.records import SongRequest
from services.providers.registry import PARAMETERS
from services.songs.lyrics import normalise
from services.songs.song_request import parse_request, title_of
from services.text import has_words

HEADINGS = {
    "[intro]": "[Intro]|Intro|Intro:|[Интро]|【前奏】|イントロ|인트로|[Introdução]|Einleitung:",
    "[verse]": "[verse]|[Verse 1]|[VERSE 2]|[Verse 1: Alice]|"
    "[Verse 1 - whispered]|[Verse One]|"
    "[Verse #2]|[1st Verse]|(Verse 1)|(verse)|Verse 1|Verse 1:|"
    "Verse II|Verse 1)|**Verse 1:**|- Verse 2|"
    "## Verse 2|1) [Verse]|Verse 2 (Alice)|"
    "\uff36\uff45\uff52\uff53\uff45 \uff11\uff1a|【主歌】|【主歌1】|"
    "【主歌一】|主歌二|主歌\uff08一\uff09|主歌A\uff1a|"
    "\uff3b主歌\uff3d|\uff08主歌\uff1a风\uff09|Aメロ|【Aメロ】|2番Aメロ|ヴァース1|[2番]|벌스 1|1절|"
    "Verse (Both)|First Verse|Second verse:|Второй куплет|Premier couplet|"
    "Strophe 1|1. Strophe|[Vers 2]|Couplet 1|"
    "1er couplet|Verso 1|[Estrofa]|Strofa 1|Куплет 2:|Zwrotka 1|Sloka 2|[मुखड़ा]",
    "[pre-chorus]": "[Pre-Chorus]|[Pre Chorus]|[PreChorus]|pre-chorus:|"
    "[Pré-Refrão]|[Предприпев]|"
    "Bメロ|プリコーラス|프리코러스|【导歌】",
    "[chorus]": "[Chorus]|chorus|CHORUS:|(Chorus)|**Chorus**|__Refrain__|"
    "`Chorus`|* Chorus|> Chorus|"
    "## [Chorus]|**[Chorus]**|- [Chorus]|"
    "[Chorus: Both, 50 Cent & 2Pac]|[Final Chorus]|{Chorus}|"
    "<chorus>|[Hook]|Hook:|(Hook)|**Hook**|Hook 2|Chorus (x2)|"
    "[Chorus x2]|[Chorus] (x2)|Chorus x2|"
    "**Chorus:** (repeat 2x)|[Refrain] :|Refrain :|Estribillo|"
    "[Coro]|Refrão|Ritornello|Припев:|"
    "Приспів|Refren|Nakarat|【副歌】|\uff08副歌\uff09|サビ|\uff3bサビ\uff3d|ラスサビ|"
    "【副歌二】|副歌B|1番サビ|コーラス|【コーラス】|"
    "[후렴]|후렴|[Điệp khúc]|"
    "[ท่อนฮุก]|--- Chorus ---|=== Chorus ===|\u2014 Chorus \u2014|~Hook~|Chorus \u2013|"
    "\u266a Chorus \u266a|\N{GUITAR} [Chorus]|[[Chorus]]|《副歌》|\uff5bChorus\uff5d|"
    "Chorus [All]|CHORUS (2X)|Chorus.|1. **Chorus**|*Chorus*:|"
    "Final Chorus|Последний припев|Ultimo ritornello|Chorus repeat|(Chorus repeat 2 times)|"
    "LAST CHORUS|Repeat Chorus|Refrain final|Estribillo final|"
    "Chorus (all)|Chorus (All):|Chorus (male & female)|Chorus (all together)|Refrain (tous)|"
    "Припев (все)|副歌\uff08合\uff09|"
    "Припев 2 раза|Припев (2 раза)|Припев: 2 раза|Припев 2\u0440.|Припев \u04452|Припев дважды|"
    "Chorus 2 times|Chorus twice|Final Chorus x2|Refrain 2 fois|Refrain 2 mal|"
    "Estribillo 2 veces|Refrão 2 vezes|Refren 2 razy|副歌 2遍",
    "[post-chorus]": "[Post-Chorus]|[Постприпев]",
    "[bridge]": "[Bridge]|Bridge|### Bridge|*Bridge*|[Puente]|Ponte:|[Pont]|【桥段】|"
    "ブリッジ|【ブリッジ】|[Бридж]|"
    "[Middle Eight]",
    "[interlude]": "[Interlude]|(Zwischenspiel)|【间奏】|Проигрыш:",
    "[instrumental]": "[Instrumental]|[inst]|Instrumental|(Instrumental Break)",
    "[guitar solo]": "[Guitar Solo]|(Guitar Solo)|Guitar Solo|Guitar solo:|Guitar Solo 2|"
    "Guitar Solo x2|Gitarrensolo|Solo de guitarra|Гитарное соло|ギターソロ",
    "[piano solo]": "Piano Solo|[Piano Solo]",
    "[saxophone solo]": "Sax Solo|[Saxophone Solo]",
    "[drum solo]": "Drum Solo",
    "[outro]": "[Outro]|Outro|[End]|Ending:|[Coda]|【尾奏】|アウトロ|[Аутро]",
}
"""Headings as they are found in lyric sheets, and what is sent for them."""
FORMS = [(form, tag) for tag, forms in HEADINGS.items() for form in forms.split("|")]


def sent(typed: str) -> SongRequest:
    return parse_request(PARAMETERS, genres="funk", lyrics=typed, random_seed=lambda: 7)


@pytest.mark.parametrize(("typed", "tag"), FORMS)
def test_heading_is_sent_as_tag_and_is_no_title(typed: str, tag: str) -> None:
    request = sent(f"{typed}\nOne more time")
    assert request.lyrics == f"{tag}\nOne more time"
    assert title_of(request.genres, request.lyrics) == "One more time"


LINES = (
    "(oh yeah)|(oh yeah x2)|[laughs]|I [beep] you|<3 you|@everyone <@1> sings|Verse of my life|"
    "Bridge over troubled water|Refrain from evil|The chorus|Chorus of angels|Chorus!|Chorus 2024|"
    "Bridge - over|Break my heart|Hook|Solo|End|Final|Most|Ponte|Rap|Drop|(solo) te quiero|"
    "Solo, solo|- Hook|Verse 3:16 is what she said|Chorus (oh yeah)|...|\N{GUITAR}|"
    "(break) it down|- I love you|12:30 in the morning|No. 1|1|Chorus (all night)|Chorus (Anna)|"
    "Chorus (and)|Chorus ()|Chorus all|Last hook|My last chorus|Hook 2 times|Sing it 2 times|"
    "2 раза|Final bridge to cross|Second verse, same as the first|Guitar solo!|My solo|"
    "Было нас 2 раза|Chorus 2 times a day|Twice|All|Both|See me live|You might also like me|"
    "Embed me|f*ck this sh*t|snake_case_here|don`t|2 * 3 * 4|君 不 见|「副歌」"
)


@pytest.mark.parametrize("line", LINES.split("|"))
def test_a_line_that_is_not_certainly_a_heading_stays_a_line(line: str) -> None:
    assert normalise(f"la\n{line}\nla") == f"la\n{line}\nla"


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("[Chorus] You make my mind", "[chorus]|You make my mind"),
        ("[verse] One [chorus] Two", "[verse]|One|[chorus]|Two"),
        ("la la【副歌】la", "la la|[chorus]|la"),
        ("[Chorus][Verse]la", "[chorus]|[verse]|la"),
        ("Chorus: We are", "[chorus]|We are"),
        ("**Verse 1:** We are", "[verse]|We are"),
        ("Verse 1 - Walking home", "[verse]|Walking home"),
        # A singer or the first word of the line? An extra word harms less.
        ("Verse 1 - Anna", "[verse]|Anna"),
        ("Verse 1 - Hallelujah", "[verse]|Hallelujah"),
        ("Chorus: Everybody", "[chorus]|Everybody"),
        ("Final Chorus: We are", "[chorus]|We are"),
        ("Chorus (all): We are", "[chorus]|We are"),
        ("Ла ла (2 раза)", "Ла ла"),
        ("(Chorus) la la", "[chorus]|la la"),
        ("[laughs] he said", "[laughs]|he said"),
        ("# Midnight Train\n## Verse 1\nla", "Midnight Train|[verse]|la"),
        ("[verse]la[/verse]", "[verse]|la"),
        ("La la (x2)", "La la"),
        ("La la (repeat 2 times)", "La la"),
        ("La la x3", "La la"),
        ("(x2) La la [2x]", "La la"),
        ("la\n(bis)\nla", "la|la"),
        ("**bold** and *it*, ~~gone~~ `code`", "bold and it, gone code"),
        ("**Hello\nworld**", "Hello|world"),
        ("你好**世界**啊", "你好世界啊"),
        ("```lyrics\n[verse]\nla\n```", "[verse]|la"),
        ("```[verse]\nla```", "[verse]|la"),
        ("~~~\nla\n~~~", "la"),
        ("[ar: X]\n[ti:Y]\n[length: 02:58]\n[offset:+500]\n[00:12.34]la", "la"),
        ("[00:00.00] 作词 : X\n[00:01.00]作曲\uff1aY\n[00:12.34]la", "la"),
        ("[01:06] <01:07>first <01:09>middle <01:20>last <01:25>", "first middle last"),
        ("[03:11.53][02:31.83]la\n[1:07.899]lo\n[00:01:02]li", "la|lo|li"),
        ("[00:12.34][Chorus]\n[00:15.00]la", "[chorus]|la"),
        ("la\v[chorus]\u2028lo", "la|[chorus]|lo"),
        ("12 ContributorsTrain Lyrics\nOne\nYou might also like[Chorus]Two", "One|[chorus]|Two"),
        ("One\nSee Alice LiveGet tickets as low as $45\nTwo7Embed", "One|Two"),
    ],
)
def test_words_and_tags_get_separate_lines(typed: str, lines: str) -> None:
    assert sent(typed).lyrics.split("\n") == lines.split("|")


@pytest.mark.parametrize(
    "typed", ["【主歌】\n\n【副歌】", "Verse 1:\nChorus:", "[ti: X]", "(x2)", "```"]
)
def test_headings_alone_are_an_instrumental(typed: str) -> None:
    assert not has_words(sent(typed).lyrics)


MARKS = "**|~~|~~~|```|## |x2|bis|1. |\\n|[00:12.34]|<00:12>|[ar:|[x]|(x2)"
WORDS = "chorus|Verse|Hook|Solo|副歌|(all)| 2 times|final|作词|la|end"
PIECES = st.sampled_from(
    [
        *"[]()【】<>{}*_`#-:\uff1a2\n\\é\u0301世/,.",
        *MARKS.split("|"),
        *WORDS.split("|"),
    ]
)
LYRICS = st.lists(PIECES | st.just(" ") | st.characters(), max_size=30).map("".join)


@given(typed=LYRICS)
@example(typed="_*a *b_ *")
@example(typed="Hook\x1f\u0301")
@example(typed="[ar: <00:01.00>]")
@example(typed="la [chorus] [ti: x]")
@example(typed="(2 (bis) times) la [verse] ~~~")
def test_normalised_lyrics_stay_unchanged(typed: str) -> None:
    lyrics = sent(typed).lyrics
    assert sent(lyrics).lyrics == lyrics
    assert normalise(lyrics) == lyrics


@given(words=st.text(st.characters(categories=["Ll", "Lo"]), min_size=1, max_size=20))
def test_every_word_stays(words: str) -> None:
    """Except a heading that has its line to itself."""
    lyrics = normalise(f"la {words} la")
    assert has_words(lyrics)
    assert words in lyrics


HOSTILE = (
    "[~(~<~*~_*~* ~`~# ~ ~\n~[a] ~[a\n~(x~x2 ~(x2)~[chorus]~(chorus)~Chorus:~chorus - ~verse 1 (~"
    "[ti: ~[00:00]~**a** ~final ~chorus (all) ~chorus 2 times ~2 times ~all ~*\u0301~作词~1 ~:~a~"
    "【~``` ~[ar:"
)


@pytest.mark.parametrize("part", HOSTILE.split("~"))
def test_hostile_lyrics_take_no_time(part: str) -> None:
    """4,000 characters; where a pattern backtracked over them it would be minutes."""
    started = time.process_time()
    normalise((part * 4_000)[:4_000])
    assert time.process_time() - started < 0.5
