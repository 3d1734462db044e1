"""What the installer is given to know."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from stepflow_python.environments.installer_env import (
    installer_environment,
    package_sources,
    resolution_settings,
    without_credentials,
)
from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import PipConfig

CACHE = Path("/cache")


def test_only_what_it_needs_is_handed_down() -> None:
    """Proxies, certificates and its own settings pass; the worker's secrets and what would bend a build don't."""
    passed = {"HOME": "/h", "https_proxy": "http://p", "SSL_CERT_FILE": "/c", "UV_INDEX_STRATEGY": "first-index"}
    kept_back = {
        "AWS_SECRET_ACCESS_KEY": "s",
        "STEPFLOW_PYTHON_DATABASE_URL": "s",
        "PYTHONPATH": "/x",
        "LD_PRELOAD": "/x",
        "UV_PYTHON": "3.8",
        "UV_SYSTEM_PYTHON": "1",
        "UV_COMPILE_BYTECODE": "1",
        "UV_NO_BINARY": "1",
    }
    env = installer_environment(passed | kept_back, PipConfig(), cache=CACHE)
    assert passed.items() <= env.items()
    assert not kept_back.keys() & env.keys()
    assert env["UV_PYTHON_DOWNLOADS"] == "never"
    assert env["UV_CACHE_DIR"] == "/cache"


def test_package_sources_of_the_request_win() -> None:
    """A configuration replaces what variables say, with its time limit in whole seconds."""
    pip = PipConfig(
        index_url=SecretStr("https://me:pw@one/simple"),
        extra_index_urls=(SecretStr("https://two/simple"), SecretStr("http://three/simple")),
        trusted_hosts=("three", "four"),
        timeout=0.2,
        retries=7,
    )
    variables = {"UV_INDEX_URL": "https://old", "UV_EXTRA_INDEX_URL": "https://old", "UV_HTTP_TIMEOUT": "99"}
    env = installer_environment(variables, pip, cache=CACHE)
    assert env == {
        "UV_DEFAULT_INDEX": "https://me:pw@one/simple",
        "UV_INDEX": "https://two/simple http://three/simple",
        "UV_INSECURE_HOST": "three four",
        "UV_HTTP_TIMEOUT": "1",
        "UV_HTTP_RETRIES": "7",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_CACHE_DIR": "/cache",
    }


def test_a_worker_set_up_for_pip_finds_the_same_registry() -> None:
    """The variables of pip are understood, unless the installer's own say otherwise."""
    env = installer_environment({"PIP_INDEX_URL": "https://pip/simple"}, PipConfig(), cache=CACHE)
    assert env["UV_DEFAULT_INDEX"] == "https://pip/simple"
    both = {"PIP_INDEX_URL": "https://pip/simple", "UV_INDEX_URL": "https://uv/simple"}
    assert "UV_DEFAULT_INDEX" not in installer_environment(both, PipConfig(), cache=CACHE)


@pytest.mark.parametrize("text", ["--index-url", "one two", "https://a/simple https://b/simple", "/etc", "ftp://x"])
def test_what_is_no_address_is_refused_unseen(text: str) -> None:
    """The message names the field, never the value: it may hold a password."""
    for pip in (PipConfig(index_url=SecretStr(text)), PipConfig(extra_index_urls=(SecretStr(text),))):
        with pytest.raises(PythonEnvironmentError, match="is not an address") as caught:
            installer_environment({}, pip, cache=CACHE)
        assert text not in caught.value.message


def test_no_credentials_in_what_names_an_environment() -> None:
    """Keys and messages hold addresses without user and password."""
    env = installer_environment({"UV_INDEX": "https://a:b@x/s https://c@y/s"}, PipConfig(), cache=CACHE)
    assert package_sources(env) == ("UV_INDEX=https://x/s https://y/s",)
    assert resolution_settings(env) == package_sources(env)
    assert without_credentials("at http://u:p@h/x, see mail@h") == "at http://h/x, see mail@h"
