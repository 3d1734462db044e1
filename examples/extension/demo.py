"""Run `llm_chat.py` against a model that is a local mock; `make` starts this with everything installed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from llmock.testing import LLMockServer

HERE = Path(__file__).resolve().parent
KEY = "sk-only-the-worker-knows"
# What an operator writes once; the key itself stays in a variable of the worker.
CONFIG = """
[llm]
endpoint = "{endpoint}"
model = "gpt-4o"
api_key = {{ env = "DEMO_LLM_KEY" }}

[words]
shortest = 3
"""


def main() -> int:
    """Show what may be lent, run the tool, show what it called; the first code that is not 0."""
    with LLMockServer() as server, tempfile.TemporaryDirectory() as home:
        Path(home, "extensions.toml").write_text(CONFIG.format(endpoint=server.base_url()), encoding="utf-8")
        environ = {**os.environ, "STEPFLOW_PYTHON_HOME": home, "DEMO_LLM_KEY": KEY}
        tool = [str(HERE / "llm_chat.py"), "--function", "converse", "--arg", "subject=the sea"]
        for words in (
            ["extension", "list"],
            ["run", *tool, "--extension", "llm", "--extension", "words", "--id", "conversation"],
            ["show", "conversation"],
        ):
            sys.stdout.write(f"$ stepflow {' '.join(words)}\n")
            sys.stdout.flush()
            done = subprocess.run([sys.executable, "-m", "stepflow_python", *words], env=environ, check=False)
            if done.returncode != 0:
                return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
