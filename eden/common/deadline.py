"""Calls that may hang: made in a thread of their own, and given up after some time."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import torch

T = TypeVar("T")


class Deadline:
    """Makes calls one after the other and waits for each a limited time.

    A call that hangs cannot be ended: its thread stays behind, and does not keep the process from ending. So nothing
    that it works on should be used afterwards.

    Args:
        seconds: for each call; None waits for ever, in the caller's own thread.
    """

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._calls: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self.expired = False

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                result: tuple[Any, BaseException | None] = call(), None
            except BaseException as error:
                result = None, error
            self._results.put(result)

    def call(self, function: Callable[[], T]) -> T:
        """What a function returns.

        Raises:
            TimeoutError: if it takes longer. What the function itself raises comes up as it is.
        """
        if self._seconds is None:
            return function()
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="eden-deadline", daemon=True)
            self._thread.start()
        # Autocast belongs to a thread.
        devices = [device for device in ("cpu", "cuda") if torch.is_autocast_enabled(device)]
        formats = [(device, torch.get_autocast_dtype(device)) for device in devices]

        def in_same_formats() -> T:
            with contextlib.ExitStack() as stack:
                for device, dtype in formats:
                    stack.enter_context(torch.autocast(device, dtype))
                return function()

        self._calls.put(in_same_formats)
        try:
            result, error = self._results.get(timeout=self._seconds)
        except queue.Empty:
            self.expired = True
            raise TimeoutError(f"took longer than {self._seconds:g} s") from None
        if error is not None:
            raise error
        found: T = result
        return found

    def close(self) -> None:
        """Let the thread end, after the call at hand."""
        self._calls.put(None)
