"""Where a wheel can be built from: a repository, an archive at an address, or a registry's own source archive."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from urllib.parse import unquote, urlsplit

from typing_extensions import override

from stepflow_python.model.module import DependencySource

_ARCHIVE = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
_ARCHIVE_SCHEMES = frozenset({"https", "http", "file"})
_GIT_SCHEMES = frozenset({"git+https", "git+http", "git+file"})
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FRAGMENT = re.compile(r"(?:sha256=(?P<sha256>[0-9a-f]{64}))?&?(?:subdirectory=(?P<subdirectory>[\w./-]+))?")


class SourceKind(StrEnum):
    """What a source is."""

    GIT = "git"
    ARCHIVE = "archive"
    SDIST = "sdist"


_RECORDED_AS = {
    SourceKind.GIT: DependencySource.GIT,
    SourceKind.ARCHIVE: DependencySource.LOCAL,
    SourceKind.SDIST: DependencySource.PYPI,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source: pinned once it has a commit (`ref`) or a hash, so that it is the same bytes for ever.

    `url` lacks what the other fields say; that of a registry's archive is asked of the registry, and empty here.
    """

    kind: SourceKind
    url: str = ""
    ref: str | None = None
    sha256: str | None = None
    subdirectory: str = ""

    @property
    def pinned(self) -> bool:
        """Whether it cannot become something else."""
        return self.sha256 is not None or (self.ref is not None and _COMMIT.fullmatch(self.ref) is not None)

    @property
    def recorded_as(self) -> DependencySource:
        """What the record calls it."""
        return _RECORDED_AS[self.kind]

    @override
    def __str__(self) -> str:
        """As a requirement and a lock name it; `source_of` reads it."""
        sha256 = f"sha256={self.sha256}" if self.sha256 else ""
        subdirectory = f"subdirectory={self.subdirectory}" if self.subdirectory else ""
        fragment = "&".join(filter(None, (sha256, subdirectory)))
        place = "sdist" if self.kind is SourceKind.SDIST else self.url
        ref = f"@{self.ref}" if self.ref else ""
        return f"{'git+' if self.kind is SourceKind.GIT else ''}{place}{ref}{'#' if fragment else ''}{fragment}"

    def at_commit(self, commit: str) -> "Source":
        """The same, pinned."""
        return replace(self, ref=commit)

    def with_hash(self, sha256: str) -> "Source":
        """The same, pinned."""
        return replace(self, sha256=sha256)


def source_of(text: str) -> Source | None:
    """The source that an address names; none if it is none, or says more than is understood here.

    Credentials are among that: they would be on record.
    """
    place, _, fragment = text.partition("#")
    said = _FRAGMENT.fullmatch(fragment)
    if said is None or ".." in (said["subdirectory"] or "").split("/") or (said["subdirectory"] or "").startswith("/"):
        return None
    subdirectory, sha256 = said["subdirectory"] or "", said["sha256"]
    if place == "sdist":
        return Source(kind=SourceKind.SDIST, sha256=sha256) if sha256 and not subdirectory else None
    try:
        parts = urlsplit(place)
    except ValueError:
        return None
    if parts.query or parts.username or parts.password or not parts.path.startswith("/"):
        return None
    if parts.scheme in _GIT_SCHEMES and sha256 is None:
        return _repository(place, subdirectory)
    if parts.scheme in _ARCHIVE_SCHEMES and unquote(parts.path).endswith(_ARCHIVE):
        return Source(kind=SourceKind.ARCHIVE, url=place, sha256=sha256, subdirectory=subdirectory)
    return None


def _repository(place: str, subdirectory: str) -> Source | None:
    url, at, ref = place.removeprefix("git+").rpartition("@")
    if not at:
        url, ref = ref, ""
    if ref and not _REF.fullmatch(ref):
        return None
    return Source(kind=SourceKind.GIT, url=url, ref=ref or None, subdirectory=subdirectory)
