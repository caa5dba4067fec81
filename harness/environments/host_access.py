"""What a build needs from this machine to reach package indexes.

It is copied into the build container and passed to single commands, and removed before the
container becomes an image: no index address, proxy or certificate stays in the image.
"""

import configparser
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

FOLDER = "/.harness-build"

_PIP_OPTIONS = ("index-url", "extra-index-url", "trusted-host", "timeout", "retries")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_CERTIFICATES = ("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_BUNDLE = "certificates.pem"


@dataclass(frozen=True)
class HostAccess:
    """Files for `FOLDER` in a build container and the environment of its commands."""

    files: Mapping[str, bytes]
    env: Mapping[str, str]


def debian_mirror(environ: Mapping[str, str] = os.environ) -> str | None:
    """The mirror that `HARNESS_DEBIAN_MIRROR` names; None leaves it to debootstrap and apt."""
    return environ.get("HARNESS_DEBIAN_MIRROR", "").rstrip("/") or None


def host_access(environ: Mapping[str, str] = os.environ, home: Path | None = None) -> HostAccess:
    """Read this machine's pip configuration, certificate bundle and proxies.

    Indexes that are folders of this machine are left out: a container cannot see them.
    """
    options = _pip_options(environ, home or Path.home())
    config = configparser.RawConfigParser()
    config["global"] = {key: options[key] for key in _PIP_OPTIONS if options.get(key)}
    lines = [f"[{name}]" for name in config.sections()]
    lines += [f"{key} = {value}" for key, value in config["global"].items()]
    files = {"pip.conf": "\n".join(lines).encode() + b"\n"}
    env = {
        "DEBIAN_FRONTEND": "noninteractive",
        "PIP_CONFIG_FILE": f"{FOLDER}/pip.conf",
        "PIP_NO_CACHE_DIR": "1",
        **{name: environ[name] for name in _PROXIES if name in environ},
    }
    bundle = _certificate_bundle(environ, options)
    if bundle is not None:
        files[_BUNDLE] = bundle.read_bytes()
        env |= dict.fromkeys(_CERTIFICATES, f"{FOLDER}/{_BUNDLE}")
    return HostAccess(files, env)


def _pip_options(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """pip's own order: system, user, `PIP_CONFIG_FILE`, then `PIP_*` variables."""
    paths = [
        Path("/etc/pip.conf"),
        home / ".pip" / "pip.conf",
        home / ".config" / "pip" / "pip.conf",
    ]
    if "PIP_CONFIG_FILE" in environ:
        paths.append(Path(environ["PIP_CONFIG_FILE"]))
    parser = configparser.RawConfigParser(strict=False)
    parser.read(path for path in paths if path.is_file())
    options: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            options |= dict(parser[section])
    for key in (*_PIP_OPTIONS, "cert"):
        name = "PIP_" + key.upper().replace("-", "_")
        if name in environ:
            options[key] = environ[name]
    for key in ("index-url", "extra-index-url"):
        options[key] = " ".join(
            url for url in options.get(key, "").split() if urlsplit(url).scheme in ("http", "https")
        )
    return options


def _certificate_bundle(environ: Mapping[str, str], options: Mapping[str, str]) -> Path | None:
    named = [environ.get(name) for name in _CERTIFICATES] + [options.get("cert")]
    for path in [*named, ssl.get_default_verify_paths().cafile]:
        if path and Path(path).is_file():
            return Path(path)
    return None
