"""Looks for what the extra ``marl`` installs before anything imports it, to say what is missing."""

from rrm_env.optional import required

required(
    "marl needs", "torch", "safetensors.torch", "filelock", "tyro", extra="marl", error=ImportError
)
