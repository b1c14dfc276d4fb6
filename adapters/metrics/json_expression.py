"""The expression that picks a number out of a JSON document: JMESPath (https://jmespath.org), without what has no bound.

Expressions may come from deploy files, and JMESPath lets a short one take for ever: `[@,@]` doubles what it is given, and
texts can be joined to texts. So the copies that an expression makes are counted before it is used, and the functions
that make texts are left out. This module must not know HTTP or what the number is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jmespath  # type: ignore[import-untyped]
from jmespath import exceptions, functions

MAX_LENGTH = 1000
MAX_COPIES = 16
"""How many times the document an expression may become, at most."""
MAX_DEPTH = 50
WITHOUT = frozenset({"join", "to_string"})
FUNCTIONS = frozenset(functions.Functions.FUNCTION_TABLE) - WITHOUT


class JsonExpressionError(Exception):
    """An expression cannot be used. The message says why, as the rest of a sentence that begins with what it is in."""


class NotApplicable(Exception):
    """An expression does not fit the document: it adds up texts, for instance."""


class JsonExpression:
    """One expression. Raises JsonExpressionError."""

    def __init__(self, text: str) -> None:
        if not text.strip():
            raise JsonExpressionError("is empty; expected a JMESPath expression, such as data.result[0].value")
        if len(text) > MAX_LENGTH:
            raise JsonExpressionError(f"has more than {MAX_LENGTH} characters")
        self.text = text
        try:
            self._compiled = jmespath.compile(text)
            check_node(self._compiled.parsed)
        except exceptions.JMESPathError as error:
            raise JsonExpressionError(f"is not a JMESPath expression: {describe_fault(error, text)}") from None
        except (RecursionError, ValueError):
            raise JsonExpressionError("is not a JMESPath expression that can be used: it is nested too deeply") from None

    def apply(self, document: object) -> object:
        """What the expression picks; None where it picks nothing. Raises NotApplicable."""
        try:
            found: object = self._compiled.search(document)
        except exceptions.JMESPathError as error:
            raise NotApplicable(str(error)) from None
        except (RecursionError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise NotApplicable(f"it cannot be calculated ({type(error).__name__})") from None
        return found


def check_node(root: Mapping[str, Any]) -> None:
    """Raises JsonExpressionError for functions that are not there, and for what could grow without bound."""
    copies, level = 1, [root]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise JsonExpressionError("is nested too deeply")
        for node in level:
            if node["type"] in ("multi_select_list", "multi_select_dict"):
                copies *= len(node["children"])
            if node["type"] == "function_expression" and node["value"] not in FUNCTIONS:
                raise JsonExpressionError(f"calls {node['value']}(...); known here: {', '.join(sorted(FUNCTIONS))}")
        level = [child for node in level for child in node["children"] if isinstance(child, Mapping)]
    if copies > MAX_COPIES:
        raise JsonExpressionError(f"makes too many copies of the document; keep those of [a, b] and {{a: b}} under {MAX_COPIES}")


def describe_fault(error: Exception, text: str) -> str:
    """The place and the kind of a fault; the library's own text is a drawing over several lines."""
    position = getattr(error, "lex_position", None)
    if isinstance(error, exceptions.IncompleteExpressionError) or position is None or position >= len(text):
        return "it ends too early"
    token = getattr(error, "token_value", "") or text[position]
    return f"unexpected {token!r} at character {position + 1}"
