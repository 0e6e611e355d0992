"""The offline benchmark: networks, and datasets by name that are made instead of downloaded."""
