"""The request's fields."""

import marshal
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepflow_python.guest.request import BadRequestError, Fields, read_request


def test_an_optional_field_may_be_missing() -> None:
    """None and absence are the same for what is optional; a wrong type is not."""
    fields = Fields({"given": None, "wrong": "1"}, "limits")
    assert fields.take("given", int, optional=True) is None
    assert fields.take("absent", int, optional=True) is None
    with pytest.raises(BadRequestError, match=r"limits\.wrong must be int, is str"):
        fields.take("wrong", int, optional=True)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_what_was_not_agreed_is_refused(payload: Any) -> None:
    """No payload of another form becomes a request."""
    read, write = os.pipe()
    os.write(write, marshal.dumps(payload, 2))
    os.close(write)
    try:
        with pytest.raises(BadRequestError):
            read_request(read)
    finally:
        os.close(read)
