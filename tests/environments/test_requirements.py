"""What passes for a requirement, and what is kept from the installer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from stepflow_python.environments.requirements import checked
from stepflow_python.errors import DependencyError

HOSTILE = [
    "--index-url=http://evil.example/simple",
    " --extra-index-url http://evil.example",
    "-r /etc/passwd",
    "-e .",
    "-e git+https://evil.example/x",
    "-c constraints.txt",
    "idna\n--index-url=http://evil.example",
    "idna\r-r /etc/passwd",
    "idna \\\n --hash=sha256:00",
    "idna --no-binary=:all:",
    "idna --hash=sha256:00",
    "idna # comment",
    "idna @ file:///etc/passwd",
    "idna@/etc/passwd",
    "idna @ https://evil.example/idna.whl",
    "git+https://evil.example/x",
    "https://evil.example/idna.whl",
    "./idna",
    "/etc/passwd",
    "../x",
    "file:///etc/passwd",
    "${HOME}",
    'idna; sys_platform == "${HOME}"',
    "idna\0",
    "",
    "   ",
    "\uff49\uff44\uff4e\uff41",
    "a" * 100_000,
]


@pytest.mark.parametrize("line", HOSTILE)
def test_what_is_no_plain_requirement_is_refused(line: str) -> None:
    """Options, paths, addresses and control characters never get further than here."""
    with pytest.raises(DependencyError):
        checked([line])


@pytest.mark.parametrize("line", ["idna @ https://evil.example/idna.whl", "git+https://evil.example/x"])
def test_an_address_is_told_what_to_do_instead(line: str) -> None:
    """The message names the remedy."""
    with pytest.raises(DependencyError, match="declare a registry version, or have the operator set ALLOW_ADDRESSES"):
        checked([line])


@pytest.mark.parametrize(
    "line",
    [
        "idna @ git+https://host.example/x",
        "idna @ https://host.example/idna-3.7.tar.gz",
        "idna @ https://user:secret@host.example/idna-3.7-py3-none-any.whl",
        "idna @ ssh://host.example/idna-3.7-py3-none-any.whl",
        "idna @ file:idna-3.7-py3-none-any.whl",
        "idna @ https://host.example/idna-3.7-py3-none-any.whl?x=1",
        "https://host.example/idna-3.7-py3-none-any.whl",
        "-e ./idna",
    ],
)
def test_where_addresses_are_allowed_only_wheels_are(line: str) -> None:
    """Repositories, archives of sources, credentials and paths without a root are refused still."""
    with pytest.raises(DependencyError):
        checked([line], addresses=True)


@pytest.mark.parametrize(
    "url", ["https://host.example/a/idna-3.7-py3-none-any.whl", "file:///w/idna-3.7-py3-none-any.whl"]
)
def test_a_wheel_by_its_address(url: str) -> None:
    """With extras and a marker as they were given."""
    assert checked([f"Idna[all] @ {url} ; python_version > '3'"], addresses=True) == (
        f'idna[all] @ {url} ; python_version > "3"',
    )


def test_a_refusal_shows_the_line_and_not_more_than_fits() -> None:
    """A megabyte of nonsense makes a short message."""
    with pytest.raises(DependencyError) as caught:
        checked(["idna", "?" * 1_000_000])
    assert "'????" in caught.value.message
    assert len(caught.value.message) < 300


def test_one_form_whatever_the_order_and_the_spelling() -> None:
    """Names are normalised, specifiers sorted, doubles dropped."""
    first = checked(["Ruamel.Yaml >=0.17,  <1", "requests[socks, security]", "idna"])
    second = checked(["idna", "requests[security,socks]", "ruamel_yaml<1,>=0.17", "idna"])
    assert first == second == ("idna", "requests[security,socks]", "ruamel-yaml<1,>=0.17")


@pytest.mark.parametrize(
    "line", ["torch==2.1.0+cpu", "a==1!2.0", "b~=1.4.2; python_version < '3.9'", "c[x]; extra == 'y'", "d!=1.*,>0"]
)
def test_plain_requirements_of_every_kind_pass(line: str) -> None:
    """Local versions, epochs, markers, extras and exclusions are all registry requirements."""
    assert str(Requirement(checked([line])[0])) == checked([line])[0]


texts = st.one_of(
    st.text(),
    st.text(alphabet="-abz09._[]<>=!~;,()'\"@ :/\\\n\r\t#$%{}"),
    st.sampled_from(HOSTILE).flatmap(lambda line: st.text(max_size=8).map(lambda tail: line + tail)),
    st.from_regex(r"[a-z]{1,4}(\[[a-z]\])? ?([<>=!~]{1,3} ?[0-9.*]{1,4})?(; ?[a-z_]+ ?== ?'[^']*')?", fullmatch=True),
)


@given(texts)
def test_any_text_is_a_requirement_or_a_dependency_error(text: str) -> None:
    """Nothing else comes out: no other exception, no option, no second line, no address."""
    try:
        (line,) = checked([text])
    except DependencyError:
        return
    assert line[0].isalnum()
    assert line.isprintable()
    assert not set(line) & set("$#\\\n\r")
    assert Requirement(line).url is None
    assert checked([line]) == (line,)
