"""The version of the distribution, importable without its dependencies so that the build can read it."""

__version__ = "0.1.0"
