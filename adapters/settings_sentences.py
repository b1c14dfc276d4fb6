"""How a validator of the settings says something in our own words. Knows no setting."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

SENTENCE = "headgate_sentence"
"""The type of the errors whose message is ours from the first word to the last."""


def sentence(text: str) -> PydanticCustomError:
    """One that begins with "is" or "has" gets the place in front."""
    return PydanticCustomError(SENTENCE, "{sentence}", {"sentence": text})
