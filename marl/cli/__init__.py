"""The commands of ``python -m marl``."""
