"""The installer's environment: an allow-list of variables, and the package sources they name."""

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from stepflow_python.errors import PythonEnvironmentError
from stepflow_python.model.environment import PipConfig

_NAMES = frozenset(
    {"HOME", "PATH", "TMPDIR", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"}
    | {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
    | {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
)
_PREFIXES = ("UV_", "PIP_", "XDG_")

# These would change which interpreter is installed into, let a package's code run in the worker, or waive hashes.
_REFUSED = frozenset(
    {"UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_WORKING_DIR", "UV_WORKING_DIRECTORY"}
    | {"UV_COMPILE_BYTECODE", "UV_NO_BINARY", "UV_NO_BINARY_PACKAGE", "UV_NO_VERIFY_HASHES", "UV_LINK_MODE"}
)

# pip's names for what the installer calls otherwise: a worker set up for pip finds the same registry.
_FROM_PIP = {
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
    "PIP_TRUSTED_HOST": ("UV_INSECURE_HOST",),
    "PIP_CERT": ("SSL_CERT_FILE",),
}

_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_WITHOUT_EFFECT = ("UV_CACHE_DIR", "UV_HTTP_", "UV_CONCURRENT_", "UV_PYTHON_")
_CREDENTIALS = re.compile(r"(?<=://)[^/\s@]*@")


def installer_environment(environ: Mapping[str, str], pip: PipConfig, *, cache: Path) -> dict[str, str]:
    """All variables of the installer.

    Addresses travel here and not in its arguments, which every user of the machine can read.

    Args:
        environ: the worker's own variables.
        pip: package sources, which win over variables.
        cache: folder of downloads, unless `UV_CACHE_DIR` names one.

    Raises:
        PythonEnvironmentError: a package source is not an address.
    """
    env = {
        name: text
        for name, text in environ.items()
        if (name in _NAMES or name.startswith(_PREFIXES)) and name not in _REFUSED
    }
    for name, others in _FROM_PIP.items():
        if name in env and not any(other in env for other in others):
            env[others[0]] = env[name]
    if pip.index_url is not None:
        env.pop("UV_INDEX_URL", None)
        env["UV_DEFAULT_INDEX"] = _address(pip.index_url, "index_url")
    if pip.extra_index_urls:
        env.pop("UV_EXTRA_INDEX_URL", None)
        env["UV_INDEX"] = " ".join(_address(url, "extra_index_urls") for url in pip.extra_index_urls)
    if pip.trusted_hosts:
        env["UV_INSECURE_HOST"] = " ".join(pip.trusted_hosts)
    env.setdefault("UV_CACHE_DIR", str(cache))
    # The installer takes whole seconds only.
    env["UV_HTTP_TIMEOUT"] = str(max(1, round(pip.timeout)))
    env["UV_HTTP_RETRIES"] = str(pip.retries)
    env["UV_PYTHON_DOWNLOADS"] = "never"
    return env


def package_sources(env: Mapping[str, str]) -> tuple[str, ...]:
    """The registries that an installer's environment names, without credentials."""
    return tuple(f"{name}={without_credentials(env[name])}" for name in _INDEXES if name in env)


def resolution_settings(env: Mapping[str, str]) -> tuple[str, ...]:
    """All variables that may change what a resolution gives, without credentials."""
    return tuple(
        f"{name}={without_credentials(text)}"
        for name, text in sorted(env.items())
        if name.startswith("UV_") and not name.startswith(_WITHOUT_EFFECT)
    )


def without_credentials(text: str) -> str:
    """The text with `user:password@` taken out of every address."""
    return _CREDENTIALS.sub("", text)


def _address(url: SecretStr, field: str) -> str:
    text = url.get_secret_value().strip()
    if re.search(r"\s", text) or urlsplit(text).scheme not in {"http", "https", "file"}:
        raise PythonEnvironmentError(f"pip_config.{field} is not an address; write it such as https://host/simple")
    return text
