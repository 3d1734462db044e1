"""A tool that holds a conversation of two rounds.

It has neither an endpoint, nor a key, nor a network: the host has all three.
"""

import json

import llm
import words


def converse(subject: str) -> dict[str, object]:
    """Ask about a subject, then for a shorter answer, and say what was answered most.

    Args:
        subject: what to talk about.
    """
    history = [{"role": "user", "content": f"Tell me about {subject}."}]
    first = json.loads(llm.chat(history))
    history.append({"role": first["role"], "content": first["content"]})
    history.append({"role": "user", "content": "Say that in one sentence."})
    second = json.loads(llm.chat(history))
    return {
        "answers": [first["content"], second["content"]],
        "tokens": first["usage"]["total_tokens"] + second["usage"]["total_tokens"],
        "words": words.count(second["content"]),
        "most_common": words.most_common(second["content"], n=2),
    }
