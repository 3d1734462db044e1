"""Verdicts on source."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepflow_python.errors import ParseError, PythonError, PythonSyntaxError
from stepflow_python.model.module import Import, ImportedName, PythonFunction
from stepflow_python.model.security import SecurityLevel, SecuritySettings, SecurityStatus
from stepflow_python.policy.check import PolicySecurity, check_function, check_source
from stepflow_python.policy.levels import settings_for
from stepflow_python.ports import PythonSecurity

STRICT = settings_for(SecurityLevel.STRICT, blocked_imports=("subprocess", "ctypes"), allowed_imports=())


def found(code: str, settings: SecuritySettings = STRICT) -> list[tuple[str, str, int, int]]:
    """Rule, subject and place of all violations."""
    return [(v.rule, v.subject, v.line, v.column) for v in check_source(code, settings).violations]


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import subprocess", [("blocked_import", "subprocess", 1, 1)]),
        ("x = 1\nif x:\n  import os, ctypes.util as u", [("blocked_import", "ctypes.util", 3, 3)]),
        ("from subprocess import run", [("blocked_import", "subprocess", 1, 1)]),
        ("def f():\n  from ctypes import CDLL", [("blocked_import", "ctypes", 2, 3)]),
        ("__import__('subprocess')", [("blocked_import", "subprocess", 1, 1)]),
        ("x = 'é'; import importlib as i; i.import_module(name='ctypes')", [("blocked_import", "ctypes", 1, 33)]),
        ("from importlib import import_module as m\nm('ctypes')", [("blocked_import", "ctypes", 2, 1)]),
        ("import os as o; o.system('x')", [("blocked_call", "os.system", 1, 17)]),
        (
            "from os import system as s; s('x')",
            [("blocked_call", "os.system", 1, 1), ("blocked_call", "os.system", 1, 29)],
        ),
        ("from os import *", [("blocked_call", "os.*", 1, 1)]),
        ("import os\nf = os.system", [("blocked_call", "os.system", 2, 5)]),
        ("import os\nmap(os.popen, [])", [("blocked_call", "os.popen", 2, 5)]),
        ("import os\nos.system.__call__('x')", [("blocked_call", "os.system", 2, 1)]),
        ("import os.path\nos.execv('x', [])", [("blocked_call", "os.execv", 2, 1)]),
        ("import posix\nposix.fork()", [("blocked_call", "os.fork", 2, 1)]),
        (
            "import asyncio\nasync def f():\n  await asyncio.create_subprocess_exec('x')",
            [("blocked_call", "asyncio.create_subprocess_exec", 3, 9)],
        ),
        ("def f():\n  import os\n  def g():\n    return [os.fork() for x in y]", [("blocked_call", "os.fork", 4, 13)]),
        ("class A:\n  import os\n  x = os.fork()", [("blocked_call", "os.fork", 3, 7)]),
        ("import os\ndef f(x=os.fork): ...", [("blocked_call", "os.fork", 2, 9)]),
        ("def f():\n  global os\n  import os\n  os.fork()\nimport os", [("blocked_call", "os.fork", 4, 3)]),
        ("try:\n  import os\nexcept ImportError:\n  os = None\nos.fork()", [("blocked_call", "os.fork", 5, 1)]),
    ],
)
def test_violations(code: str, expected: list[tuple[str, str, int, int]]) -> None:
    """Blocked things are found through aliases, in any place, called or only mentioned, sorted by place."""
    assert found(code) == expected


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.getcwd(); os.path.join('a', 'b')",
        "def f(os):\n  os.system('x')",
        "import os\nf = lambda os: os.system",
        "os = Thing()\nos.system()",
        "import os\n[os.system for os in things]",
        "import os\ndef f():\n  for os in x:\n    os.system()",
        "class A:\n  import os\n  def f(self):\n    os.fork()",
        "import system\nsystem('x')",
        "self.os.system('x')",
        "from .subprocess import x",
        "from . import ctypes",
        "__import__(name)",
        "def __import__(x): ...\n__import__('subprocess')",
        "text = 'import subprocess'",
        "import subprocesses",
    ],
)
def test_honest_code_passes(code: str) -> None:
    """What is allowed, or only looks like what is blocked, is no violation."""
    assert found(code) == []


def test_messages_name_place_and_remedy() -> None:
    """A violation says where, what, and what to do."""
    (violation,) = check_source("\nimport subprocess", STRICT).violations
    assert violation.message == (
        "import of subprocess is blocked; use another module, or ask for a security level that allows it"
    )


def test_allow_lists() -> None:
    """With allow-lists all else is a violation."""
    settings = SecuritySettings(allowed_modules=("json",), allowed_functions=("json.loads",))
    assert found("import json, os\njson.loads('1')\njson.dumps(1)\nprint(len('x'))", settings) == [
        ("not_allowed_import", "os", 1, 1),
        ("not_allowed_call", "json.dumps", 3, 1),
    ]


@pytest.mark.parametrize(
    ("code", "kind"), [("x = ", PythonSyntaxError), ("x = '\0'", ParseError), ("a" + ".a" * 50_000, ParseError)]
)
def test_what_cannot_be_parsed_is_refused(code: str, kind: type[PythonError]) -> None:
    """No verdict is given on what is no Python."""
    with pytest.raises(kind):
        check_source(code, STRICT)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text()
    | st.lists(
        st.sampled_from(["import os", "os.system", "def f(os):", " os.fork()", "lambda os: (", ")", "global os"])
    ).map("\n".join)
)
def test_any_text_gets_a_verdict_or_an_error(code: str) -> None:
    """Nothing but our own errors comes out."""
    try:
        check_source(code, STRICT)
    except PythonError:
        return


def test_deep_code_gets_a_verdict() -> None:
    """Code as deep as the parser takes is walked without our stack."""
    code = "import os\nx = " + "lambda: (" * 90 + "os.fork()" + ")" * 90 + "\ny = a" + ".b" * 900
    assert [v.subject for v in check_source(code, STRICT).violations] == ["os.fork"]


def test_functions_cut_out_of_their_file() -> None:
    """Lines are those of the file, and free names stand for modules."""
    function = PythonFunction(name="f", source_code="    @cached\n    def f(x):\n        os.fork()", lineno=11)
    assert [(v.subject, v.line, v.column) for v in check_function(function, STRICT).violations] == [("os.fork", 12, 9)]
    assert check_function(PythonFunction(name="f", source_code="def f(os):\n  os.fork()"), STRICT).allowed


def test_the_policy_is_the_port() -> None:
    """The four methods of the interface work; a run's status comes from who knows it."""

    async def use(security: PythonSecurity) -> None:
        assert not (await security.validate_code("import ctypes")).allowed
        assert not (await security.validate_code("x = 1\n" * 10_000 + "import ctypes")).allowed
        imports = [
            Import(module="ctypes", lineno=3),
            Import(module="ctypes", level=1),
            Import(module="os", names=(ImportedName(name="fork"),), lineno=2),
        ]
        verdict = await security.check_imports(imports)
        assert [(v.subject, v.line) for v in verdict.violations] == [("os.fork", 2), ("ctypes", 3)]
        assert (await security.check_functions([PythonFunction(name="f", source_code="def f(): ...")])).allowed
        assert (await security.monitor_execution("one")).running

    policy = PolicySecurity(STRICT, lambda name: SecurityStatus(execution_id=name, running=True))
    asyncio.run(use(policy))
