"""This package's version, and those of others here."""

__version__ = "0.1.0"


def installed(name: str) -> str | None:
    """Return the version of a package, if it is installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow, and not for `--version`

    try:
        return version(name)
    except PackageNotFoundError:
        return None
