"""An extension of two functions: what tools may learn of texts."""

import re
from collections import Counter

from stepflow_python.extensions import Function, Lending, Module


def module(lending: Lending) -> Module:
    """The module `words` of one run; `[words] shortest` of the worker's file is the least length of a word."""
    shortest = int(str(lending.config.get("shortest", 1)))

    def count(text: str) -> int:
        """How many words a text has."""
        return len(_words(text, shortest))

    def most_common(text: str, n: int = 3) -> list[tuple[str, int]]:
        """The `n` most common words of a text, each with how often it is there."""
        if n < 1:
            raise ValueError("n is at least 1")
        return Counter(_words(text, shortest)).most_common(n)

    # Of the arguments only `n` goes into the record: the text is the tool's own affair.
    functions = [count, Function(most_common, audited=("n",))]
    return Module(functions=functions, constants={"SHORTEST": shortest}, doc="What there is to know of texts.")


def _words(text: str, shortest: int) -> list[str]:
    return [word for word in re.findall(r"\w+", text.lower()) if len(word) >= shortest]
