"""Which expressions are sampled for, and for how long."""

from __future__ import annotations

import pytest

from adapters.metrics.expression_parser import ExpressionError
from adapters.metrics.watchlist import IDLE_S, MAX_EXPRESSIONS, MAX_RETENTION_S, MIN_RETENTION_S, Watchlist


def shown(watchlist: Watchlist) -> set[str]:
    return {str(selector) for selector in watchlist.selectors}


def test_everything_that_expressions_need_is_looked_for() -> None:
    watchlist = Watchlist()
    watchlist.add("ratio(a{x='1'}, a)", 60.0, now=0.0)
    watchlist.add("rate(a) + sum(b[30s])", 60.0, now=0.0)
    assert shown(watchlist) == {'a{x="1"}', "a", "b"}


def test_what_is_no_expression_is_not_noted() -> None:
    watchlist = Watchlist()
    with pytest.raises(ExpressionError):
        watchlist.add("rate(", 60.0, now=0.0)
    assert list(watchlist) == []


def test_what_nobody_asks_for_any_more_is_forgotten() -> None:
    watchlist = Watchlist()
    watchlist.add("rate(a)", 60.0, now=0.0)
    watchlist.add("rate(b)", 60.0, now=0.0)
    watchlist.add("rate(b)", 60.0, now=IDLE_S - 1)
    watchlist.forget_idle(IDLE_S + 1)
    assert shown(watchlist) == {"b"}


def test_an_expression_with_a_long_window_is_waited_for_longer() -> None:
    watchlist = Watchlist()
    watchlist.add("rate(a)", 3600.0, now=0.0)
    watchlist.forget_idle(3600.0 + IDLE_S)
    assert shown(watchlist) == {"a"}


def test_scrapes_are_kept_for_the_longest_window_within_bounds() -> None:
    watchlist = Watchlist()
    assert watchlist.retention_s == MIN_RETENTION_S
    watchlist.add("rate(a)", 1800.0, now=0.0)
    watchlist.add("rate(a)", 60.0, now=0.0)
    assert watchlist.retention_s == 3600.0
    watchlist.add("rate(b)", 10 * 86_400.0, now=0.0)
    assert watchlist.retention_s == MAX_RETENTION_S


def test_the_list_is_bounded_and_keeps_what_was_asked_for_last() -> None:
    watchlist = Watchlist()
    watchlist.add("rate(first)", 60.0, now=0.0)
    watchlist.add("rate(second)", 60.0, now=0.0)
    for number in range(MAX_EXPRESSIONS - 2):
        watchlist.add(f"{number}", 60.0, now=0.0)
    watchlist.add("rate(first)", 60.0, now=0.0)
    watchlist.add("rate(third)", 60.0, now=0.0)
    assert len(list(watchlist)) == MAX_EXPRESSIONS
    assert shown(watchlist) == {"first", "third"}
