"""What processes say on standard error, whether or not they had to compile kernels for long."""

from __future__ import annotations

from rrm_env.compile_notice import LINE


def without_notice(errors: str) -> str:
    """The text without the line that says that kernels compile, as busy machines make it appear."""
    return errors.replace(f"{LINE}\n", "")
