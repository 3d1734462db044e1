"""Getting the bytes of a source; none of its code runs."""

import base64
import hashlib
import re
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stepflow_python.environments.installer_env import without_credentials
from stepflow_python.environments.sources import Source, SourceKind
from stepflow_python.environments.threads import in_thread
from stepflow_python.errors import DependencyError, EnvironmentUnavailableError
from stepflow_python.process.run import Completed, run_command

MOST_BYTES = 256 * 1024 * 1024
"""Of one source archive."""
_TIMEOUT_S = 60.0
"""Until the next bytes arrive."""
_CHUNK = 1 << 20
_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")
_AWAY = re.compile(r"could not resolve|failed to connect|connection|timed out|tls|ssl", re.IGNORECASE)
_CERTIFICATES = {"SSL_CERT_FILE": "GIT_SSL_CAINFO", "SSL_CERT_DIR": "GIT_SSL_CAPATH"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """An archive, and the source it is of, pinned."""

    source: Source
    archive: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches archives and repositories. `env` is the installer's: registries with their credentials, proxies."""

    env: Mapping[str, str]
    timeout_s: float

    async def fetch(self, source: Source, *, url: str = "") -> Fetched:
        """The bytes of a source; `url` is where a registry's archive lies.

        Raises:
            DependencyError: there is no such thing, it is too large, or not what its hash says.
            EnvironmentUnavailableError: its place cannot be reached now.
        """
        if source.kind is SourceKind.GIT:
            return await self._repository(source)
        archive = await in_thread(self._archive, url or source.url)
        sha256 = hashlib.sha256(archive).hexdigest()
        if source.sha256 is not None and source.sha256 != sha256:
            raise DependencyError(f"{source}: the file there has the hash sha256={sha256}; it was changed")
        return Fetched(source=source.with_hash(sha256), archive=archive)

    def _archive(self, url: str) -> bytes:
        import urllib.error  # noqa: PLC0415 - with all that it brings it costs a quick run 20 ms
        import urllib.request  # noqa: PLC0415 - see above

        request = urllib.request.Request(url)  # noqa: S310 - http, https or file: checked
        for name, text in self._headers(url).items():
            # Not handed on to where the host sends us: that may be another one.
            request.add_unredirected_header(name, text)
        context = ssl.create_default_context(
            cafile=self.env.get("SSL_CERT_FILE") or None, capath=self.env.get("SSL_CERT_DIR") or None
        )
        content = bytearray()
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=context) as answer:  # noqa: S310 - see above
                while chunk := answer.read(_CHUNK):
                    content += chunk
                    if len(content) > MOST_BYTES:
                        raise DependencyError(f"{url}: over {MOST_BYTES} bytes, the most that a source may have")
        except urllib.error.HTTPError as error:
            error.close()
            raise DependencyError(
                f"{url}: the server answers {error.code} {error.reason}; check the address"
            ) from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, FileNotFoundError) or urlsplit(url).scheme == "file":
                raise DependencyError(f"{url}: {error.reason}; check the address") from error
            raise EnvironmentUnavailableError(f"{url}: {error.reason}; try again later") from error
        return bytes(content)

    def _headers(self, url: str) -> dict[str, str]:
        """What the registry on the same host wants to be told."""
        place = urlsplit(url)
        for index in " ".join(self.env.get(name, "") for name in _INDEXES).split():
            parts = urlsplit(index.partition("=")[2] if "=" in index.partition("://")[0] else index)
            if parts.username and (parts.scheme, parts.hostname, parts.port) == (
                place.scheme,
                place.hostname,
                place.port,
            ):
                words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
                return {"Authorization": f"Basic {base64.b64encode(words.encode()).decode()}"}
        return {}

    async def _repository(self, source: Source) -> Fetched:
        """One commit of a repository as an archive: neither hooks, nor filters, nor submodules."""
        with tempfile.TemporaryDirectory(prefix="stepflow-source-") as name:
            folder = Path(name)
            await self._git(folder, source, "init", "--quiet", "--bare", ".")
            wanted = source.ref or "HEAD"
            fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules")
            shallow = await self._git(folder, source, *fetch, "--depth=1", "--", source.url, wanted, must=False)
            if shallow.returncode == 0:
                wanted = "FETCH_HEAD"
            else:  # a commit by the start of its name, or a server that gives whole branches only
                await self._git(folder, source, *fetch, "--", source.url, "+refs/*:refs/*")
            found = await self._git(
                folder, source, "rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}", must=False
            )
            if found.returncode != 0:
                raise DependencyError(f"{source}: no branch, tag or commit {source.ref!r} there")
            commit = found.stdout.decode().strip()
            await self._git(folder, source, "archive", "--format=tar", "--output=source.tar", commit)
            archive = folder / "source.tar"
            if archive.stat().st_size > MOST_BYTES:
                raise DependencyError(f"{source}: over {MOST_BYTES} bytes, the most that a source may have")
            return Fetched(source=source.at_commit(commit), archive=await in_thread(archive.read_bytes))

    async def _git(self, folder: Path, source: Source, *words: str, must: bool = True) -> Completed:
        try:
            done = await run_command(["git", *words], env=self._variables(folder), cwd=folder, timeout_s=self.timeout_s)
        except FileNotFoundError as error:
            raise EnvironmentUnavailableError(f"{source}: git is not installed on this worker; install it") from error
        if must and done.returncode != 0:
            said = " ".join(without_credentials(done.stderr.decode("utf-8", "replace")).split())[:1000]
            if _AWAY.search(said):
                raise EnvironmentUnavailableError(f"{source}: {said}; try again later")
            raise DependencyError(f"{source}: {said}; check the address")
        return done

    def _variables(self, folder: Path) -> dict[str, str]:
        """No configuration but git's own defaults, and no questions to people."""
        kept = {name: self.env[name] for name in ("PATH", *_PROXIES) if name in self.env}
        kept |= {theirs: self.env[ours] for ours, theirs in _CERTIFICATES.items() if ours in self.env}
        return kept | {
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": "https:http:file",
            "GIT_DIR": str(folder),
            "LC_ALL": "C.UTF-8",
        }
