"""The window in which episodes are shown.

pygame has one window per process, which environments share, also with other libraries. The last
environment that shows something closes it, and only if an environment opened it.
"""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

from gymnasium.error import DependencyNotInstalled

from rrm_env.optional import required
from rrm_env.provenance import shared_import_name

if TYPE_CHECKING:
    import pygame


class NoDisplayError(OSError):
    """There is no screen to open a window on."""


def import_pygame() -> Any:
    """The module pygame, without its greeting (DependencyNotInstalled: it cannot be imported)."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return required(
        "rendering needs", "pygame", "pygame.gfxdraw", extra="render", error=DependencyNotInstalled
    )


def check_windows() -> None:
    """Refuse where no window could be opened.

    Raises:
        DependencyNotInstalled: pygame is missing, or two distributions of it are installed.
        NoDisplayError: there is no screen.
    """
    if conflict := shared_import_name("pygame"):
        raise DependencyNotInstalled(f"{conflict}, and windows crash; then pip install pygame-ce")
    pygame = import_pygame()
    if pygame.display.get_init():
        return
    chosen = os.environ.get("SDL_VIDEODRIVER") or os.environ.get("SDL_VIDEO_DRIVER")
    try:
        pygame.display.init()
        # SDL falls back to drivers that show nothing, which is right only where they were chosen.
        found = chosen or pygame.display.get_driver() not in ("offscreen", "dummy")
        reason = "SDL found none"
        pygame.display.quit()
    except pygame.error as error:
        found, reason = False, str(error)
    if not found:
        raise NoDisplayError(
            f"no display ({reason}): use --video, rrm_env.record or render_mode='rgb_array'"
        )


class Window:
    """One environment's share of the window.

    Args:
        size: width and height of what is shown, pixels.
        title: the title of the window.
        frames_per_second: `show` waits so that no more frames are shown.
    """

    _open: ClassVar[weakref.WeakSet[Window]] = weakref.WeakSet()
    _is_ours: ClassVar[bool] = False

    def __init__(self, size: tuple[int, int], title: str, frames_per_second: int) -> None:
        self.size, self.title, self.frames_per_second = size, title, frames_per_second
        self.closed = False
        """Whether a person has closed the window; nothing is shown after that."""
        self._clock: pygame.time.Clock | None = None

    def show(self, picture: pygame.Surface) -> None:
        """Show a picture, unless a person has closed the window.

        Closing it closes it for all that share it.
        """
        if self.closed:
            return
        pygame = import_pygame()
        screen = self._screen(pygame)
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            for window in [*Window._open]:
                window.closed = True
                window.close()
            return
        screen.blit(picture, (0, 0))
        pygame.display.flip()
        self._clock = self._clock or pygame.time.Clock()
        self._clock.tick(self.frames_per_second)

    def close(self) -> None:
        """Close the window unless another environment uses it; `show` opens another one."""
        if self not in Window._open:
            return
        Window._open.discard(self)
        if not Window._open and Window._is_ours:
            Window._is_ours = False
            import_pygame().display.quit()

    def _screen(self, library: Any) -> pygame.Surface:
        """The surface of the window, opened again if another library has closed or resized it."""
        if not library.display.get_init():
            library.display.init()
            Window._is_ours = True
        Window._open.add(self)
        screen: pygame.Surface | None = library.display.get_surface()
        if screen is None or screen.get_size() != self.size:
            screen = library.display.set_mode(self.size)
        if library.display.get_caption()[0] != self.title:
            library.display.set_caption(self.title)
        return screen

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process opens a window of its own."""
        return {**self.__dict__, "_clock": None}
