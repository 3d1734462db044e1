"""What goes into each column."""

from hypothesis import given
from hypothesis import strategies as st
from support.records import environment, module, request

from stepflow_python.model.request import ExecutionRequest
from stepflow_python.model.values import now
from stepflow_python.store.rows import environment_row, request_of, stored_request, tool_of


def test_a_tool_is_named_by_what_is_known() -> None:
    """An id of the client's goes before a made one; without a source there is none to make."""
    digest = module().source_hash
    assert tool_of(request()).id == f"doubling-{digest[:12]}"
    assert tool_of(request(module_name=None)).id == f"tool-{digest[:12]}"
    assert tool_of(request(module_name=None), module()).id == f"doubling-{digest[:12]}"
    chosen = tool_of(request(tool_id="chosen"), module())
    assert (chosen.id, chosen.name, chosen.source_hash) == ("chosen", "doubling", digest)
    by_id = tool_of(ExecutionRequest(tool_id="chosen"))
    assert (by_id.id, by_id.name, by_id.source_hash) == ("chosen", "chosen", None)
    blank = tool_of(ExecutionRequest(code=""))
    assert (blank.id, blank.name, blank.source_hash) == (None, None, None)


def test_a_name_has_a_bound() -> None:
    """An identifier of any length fits into an index."""
    tool = tool_of(request(module_name="x" * 100_000))
    assert (len(tool.id or ""), len(tool.name or "")) == (128 + 13, 128)


@given(st.dictionaries(st.text(alphabet="ABC_", min_size=1), st.text(alphabet="0123456789", min_size=8)))
def test_no_value_of_a_variable_is_stored(env: dict[str, str]) -> None:
    """Whatever the variables hold, only their names are kept."""
    stored = stored_request(request(parameters={}, env=env), "hash")
    assert stored["env"] == dict.fromkeys(env, "***")
    assert not [value for value in env.values() if value in str({**stored, "source_hash": None})]


def test_a_stored_request_is_still_a_request() -> None:
    """All but source, files and variables comes back."""
    one = request(parameters={"number": 2}, env={"A": "b"}, files={"a": b"1"}, dependencies=("six",), priority=4)
    again = request_of(stored_request(one, "hash"))
    assert again == one.model_copy(update={"code": "", "env": {}, "files": {}})


def test_packages_of_an_environment_are_listed_without_hashes() -> None:
    """The lock's lines are kept whole, the base packages are what they require."""
    row = environment_row(environment(), moment=now())
    assert row["base_packages"] == ["numpy==2.1.0", "six==1.17.0"]
    assert "sha256:aa" in str(row["lock"])
