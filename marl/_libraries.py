"""What the extra ``marl`` installs and this package cannot do without, looked for before anything imports it."""

from rrm_env.optional import required

required("marl needs", "torch", "safetensors.torch", "filelock", "tyro", extra="marl", error=ImportError)
