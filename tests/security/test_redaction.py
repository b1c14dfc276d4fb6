"""What is taken out of the words of others, in whichever form it comes back, and that it is cut only then."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from adapters.outputs import OutputTail
from adapters.redaction import SHORTEST, Redaction

ODD = "sesame-A/+=\"%&<'\\ é😀-open"
KEY = "-----BEGIN KEY-----\nMIIEvQ/AbCd+\nshort\nhQ0Z/+8=\n-----END KEY-----"

FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "encoded": lambda text: quote(text, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "encoded in small letters": lambda text: quote(text, safe="").lower().replace("sesame-a", "sesame-A"),
    "in an address that was put in order": lambda text: str(URL("http://h/?k=" + quote(text, safe=""))),
    "in an address inside of another": lambda text: quote(quote(text)),
    "in JSON": json.dumps,
    "in JSON as it is": lambda text: json.dumps(text, ensure_ascii=False),
    "in JSON with slashes escaped": lambda text: json.dumps(text).replace("/", "\\/"),
    "in JSON for a page": lambda text: json.dumps(text).replace("&", "\\u0026").replace("<", "\\u003C"),
    "in JSON inside of JSON": lambda text: json.dumps(json.dumps(json.dumps(text))),
    "in a list of Python": repr,
    "in a web page": html.escape,
    "in a web page, by number": lambda text: "".join(f"&#{ord(one)};" if one in "+\"&<'" else one for one in text),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_known_in_every_form(form: str) -> None:
    said = Redaction([ODD]).take_out(f"before {FORMS[form](ODD)} after")
    assert said.startswith("before ")
    assert said.endswith(" after")
    assert "***" in said
    assert "sesame" not in said
    assert "open" not in said


OF_THEIR_OWN = {"encoded in small letters", "in a list of Python"}


@given(st.text(st.characters(codec="utf-8"), min_size=SHORTEST), st.sampled_from(sorted(FORMS.keys() - OF_THEIR_OWN)))
def test_so_is_any_text(secret: str, form: str) -> None:
    """Of the backslashes beside it, which may be the escape of what comes next, more may go."""
    said = Redaction([secret]).take_out(FORMS[form](secret))
    assert said.replace("\\", "") == FORMS[form]("abc").replace("abc", "***").replace("\\", "")


def test_the_longest_goes_first() -> None:
    assert Redaction(["sesame", "sesame-open"]).take_out("sesame-open sesame") == "*** ***"
    assert Redaction(["sesame-open", "sesame"]).take_out("sesame-open sesame") == "*** ***"


@pytest.mark.parametrize("form", ["as it is", "encoded", "in JSON", "in JSON inside of JSON"])
def test_of_several_lines_the_whole_is_taken_out_and_each_long_line(form: str) -> None:
    redaction = Redaction([KEY])
    assert "short" not in redaction.take_out(FORMS[form](KEY))
    for line in ("MIIEvQ/AbCd+", "hQ0Z/+8="):
        assert line[:6] not in redaction.take_out(FORMS[form](f"it begins with {line}"))
    assert redaction.take_out("a short line") == "a short line"
    assert "MIIEvQ" not in redaction.take_out(KEY.replace("\n", "\r\n"))


def test_what_is_short_is_a_part_of_other_words() -> None:
    assert Redaction(["abc", ""]).take_out("abc") == "abc"
    assert Redaction(["abc", ""], shortest=1).take_out("abcd") == "***d"
    assert Redaction([]).take_out("abcd") == "abcd"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["\\", "%25", "%", "\n", "\\u00", "&#", '"', "%2F"])
def test_no_text_holds_it_up(piece: str) -> None:
    Redaction(["\\\\x", '"/=x', "%%%%", "%25%25x", "\n\nx", KEY]).take_out(piece * 200_000)


# --- the end of an output ----------------------------------------------------------------------------------------------


def test_a_secret_across_the_cut_leaves_no_tail() -> None:
    for most in range(1, 60):
        tail = OutputTail(Redaction([ODD]), most=most)
        for byte in f"the line before\nwith {ODD} in it".encode():
            tail.add(bytes([byte]))
        told = tail.text()
        assert not set("é😀�") & set(told)
        assert "open" not in told
        assert told.endswith(" in it"[-most:])


def test_nor_does_one_that_was_cut_where_keeping_begins() -> None:
    """What is taken out makes the rest shorter, but does not bring back what was kept only to know secrets by."""
    for before in range(200):
        tail = OutputTail(Redaction([ODD, "other-secret"]), most=100)
        tail.add((f"{ODD} " * 20 + "x" * before + "other-secret" * 8).encode())
        assert "open" not in tail.text()


def test_what_is_no_text_is_shown_by_question_marks_after_secrets_are_out() -> None:
    tail = OutputTail(Redaction(["bell\x07key", "two\nlines"]))
    tail.add(b"\x1b[31mbell\x07key\x1b[0m \x07 two\r\nlines \xff")
    assert tail.text() == "*** ? *** \ufffd"
