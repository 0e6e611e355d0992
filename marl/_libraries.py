"""Check that the libraries of the extra ``marl`` are installed, and name those that are missing."""

from rrm_env.optional import required

required(
    "marl needs", "torch", "safetensors.torch", "filelock", "tyro", extra="marl", error=ImportError
)
