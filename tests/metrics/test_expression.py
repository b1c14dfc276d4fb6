"""The expression language: what can be written, and what people are told who write something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics.expression import (
    Arithmetic,
    Call,
    Default,
    Expression,
    Function,
    Negation,
    Number,
    Operator,
    Quantile,
    Ratio,
    Selection,
    selectors_of,
)
from adapters.metrics.expression_parser import MAX_PARTS, ExpressionError, parse_expression
from adapters.metrics.selector import Match, Matcher, Selector

REQUESTS = Selection(Selector("requests_total"))
FAILURES = Selection(Selector("requests_total", (Matcher("code", Match.MATCHES, "5.."),)))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("requests_total", REQUESTS),
        ("rate(requests_total)", Call(Function.RATE, REQUESTS)),
        ("increase ( requests_total{} )", Call(Function.INCREASE, REQUESTS)),
        ('ratio(requests_total{code=~"5.."}, requests_total)', Ratio(FAILURES, REQUESTS)),
        ("ratio(requests_total{code=~'5..',}, requests_total)", Ratio(FAILURES, REQUESTS)),
        ("max(heap[1m30s])", Call(Function.MAX, Selection(Selector("heap"), 90_000))),
        ("quantile(.99, time_bucket)", Quantile(0.99, Selection(Selector("time_bucket")))),
        ("default(sum(queue), -1)", Default(Call(Function.SUM, Selection(Selector("queue"))), -1.0)),
        ("1 - 2 - 3", Arithmetic(Operator.SUBTRACT, Arithmetic(Operator.SUBTRACT, Number(1), Number(2)), Number(3))),
        ("1 + 2 * 3", Arithmetic(Operator.ADD, Number(1), Arithmetic(Operator.MULTIPLY, Number(2), Number(3)))),
        ("(1 + 2) * 3", Arithmetic(Operator.MULTIPLY, Arithmetic(Operator.ADD, Number(1), Number(2)), Number(3))),
        ("-1 * 2", Arithmetic(Operator.MULTIPLY, Negation(Number(1)), Number(2))),
        ("# per minute\n60 * 1e3", Arithmetic(Operator.MULTIPLY, Number(60), Number(1000))),
        ("rate", Selection(Selector("rate"))),  # only a parenthesis makes it the function
    ],
)
def test_what_can_be_written(text: str, tree: Expression) -> None:
    assert parse_expression(text) == tree


def test_escapes_in_texts_are_those_of_promql() -> None:
    selection = parse_expression(r"""files{path="C:\\x \"y\"\n"}""")
    assert isinstance(selection, Selection)
    assert selection.selector.matchers[0].value == 'C:\\x "y"\n'


def test_the_selectors_of_a_whole_tree_are_known() -> None:
    tree = parse_expression("default(ratio(a, b), 0) + -rate(c) * quantile(0.5, d_bucket) - e / 2")
    assert [str(selector) for selector in selectors_of(tree)] == ["a", "b", "c", "d_bucket", "e"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: expected a number, a function, a metric name or `(`, found the end of the text"),
        ("rate(requests_total", "1:20: expected `)`, found the end of the text"),
        ("rate()", "1:6: expected a metric name, found `)`"),
        ("requests_total{code}", "1:20: expected `=`, `!=`, `=~` or `!~`, found `}`"),
        ("requests_total{code=500}", "1:21: expected a text between quotation marks on one line, found `500`"),
        ("a{b='c' d='e'}", "1:9: expected `}`, found `d`"),
        ("a{,}", "1:3: expected a label name or `}`, found `,`"),
        ("heap[5]", "1:6: expected a duration above zero, such as 30s or 1m30s"),
        ("heap[5m:1m]", "1:8: expected `]`, found `:1m`"),
        ("1 +\n  (2 *\n   $)", "3:4: expected a number, a function, a metric name or `(`, found `$`"),
        ("1e999", "1:1: expected a number that fits into 64 bits"),
        ("12ab", "1:1: expected a number, found `12ab`"),
        ("quantile(99, t_bucket)", "1:10: expected a quantile between 0 and 1"),
        ("quantile(0.99, t)", "1:16: expected a histogram's buckets, for instance `t_bucket`"),
        ("default(a, b)", "1:12: expected a number, found `b`"),
        ("ratio(a + b, c)", "1:9: expected `,`, found `+`"),
        ("rate(a) > 5", "1:9: expected `+`, `-`, `*`, `/` or the end of the text, found `>`"),
        ("avarage(a)", "1:1: there is no function `avarage`: did you mean `avg`?"),
        (
            "zzz(a)",
            "1:1: there is no function `zzz`: there are rate, increase, sum, avg, max, min, quantile, ratio, default",
        ),
        ('a{b=~"(x+)+"}', "1:6: a group cannot be repeated with '+' in regular expressions"),
        (r'a{b=~"\d"}', r"1:7: `\d` is not an escape: write two backslashes for a backslash"),
    ],
)
def test_mistakes_are_located_and_explained(text: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert str(caught.value) == f"expression:{message}"


@pytest.mark.parametrize(
    ("promql", "explanation"),
    [
        ("sum(rate(a[5m]))", "functions take series, and all series are added up already"),
        ("sum(a) by (b)", "`by` is not supported: series are always added up over all labels"),
        ("histogram_quantile(0.9, a_bucket)", "did you mean `quantile`?"),
        ("rate(a) or vector(0)", "write default(expression, 0) for a value that may be missing"),
        ("a offset 5m", "the window is the one of the analysis"),
    ],
)
def test_who_writes_promql_is_told_how_it_is_said_here(promql: str, explanation: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(promql)
    assert explanation in str(caught.value)


@pytest.mark.parametrize("text", ["(" * 5000, "-" * 5000 + "1", "1" + "+1" * 4000, "default(" * 1200, "a" * 10_001])
def test_expressions_that_would_exhaust_the_stack_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_expression(text)


def test_an_expression_of_the_greatest_depth_is_read_and_printed() -> None:
    tree = parse_expression("(1+" * (MAX_PARTS // 2) + "1" + ")" * (MAX_PARTS // 2))
    assert parse_expression(str(tree)) == tree


def expressions() -> st.SearchStrategy[Expression]:
    names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,8}", fullmatch=True)
    labels = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
    plain = st.builds(Matcher, labels, st.sampled_from([Match.EQUAL, Match.UNEQUAL]), st.text(max_size=8))
    patterns = st.builds(
        Matcher, labels, st.sampled_from([Match.MATCHES, Match.MATCHES_NOT]), st.sampled_from(["5..", "a|\n", r"\d"])
    )
    selectors = st.builds(Selector, names, st.lists(plain | patterns, max_size=3).map(tuple))
    buckets = selectors.map(lambda selector: Selector(f"{selector.name}_bucket", selector.matchers))
    ranges = st.none() | st.integers(1, 10**10)
    selections = st.builds(Selection, selectors, ranges)
    numbers = st.floats(0, allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0)
    leaves = (
        selections
        | st.builds(Number, numbers)
        | st.builds(Call, st.sampled_from(Function), selections)
        | st.builds(Quantile, st.floats(0, 1), st.builds(Selection, buckets, ranges))
        | st.builds(Ratio, selections, selections)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Negation, inner)
            | st.builds(Default, inner, st.floats(allow_nan=False, allow_infinity=False))
            | st.builds(Arithmetic, st.sampled_from(Operator), inner, inner)
        ),
        max_leaves=12,
    )


@given(expressions())
def test_what_is_printed_reads_back_the_same(tree: Expression) -> None:
    assert parse_expression(str(tree)) == tree


@given(st.text(max_size=40) | st.text("ab{}[]()=~!\"'\\,.0159e+-*/ \n#smhd", max_size=40))
def test_rubbish_is_an_expression_or_a_located_error(text: str) -> None:
    try:
        tree = parse_expression(text)
    except ExpressionError as error:
        assert 1 <= error.line <= text.count("\n") + 1
        assert 1 <= error.column <= len(text) + 1
    else:
        assert parse_expression(str(tree)) == tree
