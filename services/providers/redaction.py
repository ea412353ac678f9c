"""Text from outside, made fit for a log line: short, on one line, without what opens anything."""

import re


def one_line(text: str, longest: int) -> str:
    """Return it as printable characters on one line, cut off at `longest` of them."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "\u2026"


def without_queries(text: str) -> str:
    """Remove the queries of addresses: absolute or relative, plain or as JSON escapes them."""
    return re.sub(r"[^\s\"'<>]+", lambda word: _without_query(word[0]), text)


def _without_query(word: str) -> str:
    address = re.split(r"[?#]|\\u003f", word, maxsplit=1, flags=re.IGNORECASE)[0]
    return address if "/" in address else word
