"""Files read in pieces of bounded size: plain ones and those packed by gzip, bzip2, xz or Zstandard."""

from __future__ import annotations

import bz2
import importlib
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from eden.common.files import FileError

CHUNK_BYTES = 2**20
"""Most bytes of a piece, packed or not."""

# zstandard's object gives no bound on what a piece becomes: at most 128 KiB for each three bytes of it.
_ZSTD_BYTES = 2**10

_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "Zstandard"}
_SUFFIXES = {".gz": "gzip", ".bz2": "bzip2", ".xz": "xz", ".zst": "Zstandard"}


class _Zlib:
    """zlib's object with the interface of those of bz2 and lzma."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self._full = False

    def decompress(self, data: bytes, max_length: int) -> bytes:
        unpacked = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self._full = len(unpacked) == max_length
        return unpacked

    @property
    def needs_input(self) -> bool:
        # A full result can have left something behind even where all bytes were taken.
        return not (self._full or self._inner.unconsumed_tail)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


class _Zstd:
    """zstandard's object likewise; it takes pieces of ``_ZSTD_BYTES``."""

    def __init__(self, module: Any) -> None:
        self._inner = module.ZstdDecompressor().decompressobj()
        self._waiting = b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        self._waiting += data
        piece, self._waiting = self._waiting[:_ZSTD_BYTES], self._waiting[_ZSTD_BYTES:]
        unpacked: bytes = self._inner.decompress(piece)
        return unpacked

    @property
    def needs_input(self) -> bool:
        return not self._waiting

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        rest: bytes = self._inner.unused_data + self._waiting
        return rest


def _zstd(path: Path) -> Callable[[], Any]:
    try:
        return importlib.import_module("compression.zstd").ZstdDecompressor  # type: ignore[no-any-return]
    except ImportError:
        pass
    try:
        module = importlib.import_module("zstandard")
    except ImportError as error:
        raise FileError(
            path, "packed by Zstandard, for which neither Python 3.14 nor the package zstandard is there"
        ) from error
    return lambda: _Zstd(module)


class PackedFile:
    """A file that is read once, in pieces, unpacked if it is packed.

    Args:
        path: the file; anything that can be opened, pipes included.
        by_suffix: take a file for packed only where its name says so too, because its bytes can be anything.

    Raises:
        FileError: if it cannot be opened or read; from ``chunks``, if it is no whole packed file, or changes while it
            is read.

    """

    def __init__(self, path: str | os.PathLike[str], by_suffix: bool = False) -> None:
        self.path = Path(path)
        try:
            self._file: BinaryIO = open(self.path, "rb")  # noqa: SIM115 - closed by __exit__
        except OSError as error:
            raise FileError(path, f"cannot be read: {error.strerror}") from error
        try:
            self._before = os.fstat(self._file.fileno())
            head = self._file.peek(8)[:8]
        except OSError as error:
            self._file.close()
            raise FileError(path, f"cannot be read: {error.strerror}") from error
        self.packing = next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)
        if by_suffix and _SUFFIXES.get(self.path.suffix) != self.packing:
            self.packing = None
        self._packed_bytes = 0

    def __enter__(self) -> PackedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def size(self) -> int | None:
        """Bytes of the file as it was opened, packed; None for a pipe."""
        return self._before.st_size if stat.S_ISREG(self._before.st_mode) else None

    @property
    def position(self) -> int:
        """How many of them were read."""
        return self._packed_bytes

    def chunks(self) -> Iterator[bytes]:
        """The unpacked bytes, in pieces that are not empty."""
        pieces = self._read()
        return pieces if self.packing is None else self._unpack(pieces)

    def _read(self) -> Iterator[bytes]:
        while True:
            try:
                piece = self._file.read(CHUNK_BYTES)
            except OSError as error:
                raise FileError(self.path, f"cannot be read: {error.strerror}") from error
            if not piece:
                break
            self._packed_bytes += len(piece)
            yield piece
        if self.size is None:
            return
        after = os.fstat(self._file.fileno())
        same = (after.st_size, after.st_mtime_ns) == (self._before.st_size, self._before.st_mtime_ns)
        if not same or self._packed_bytes != self.size:
            raise FileError(
                self.path,
                f"changed while it was read: it had {self.size} bytes at first, {after.st_size} at the end, and "
                f"{self._packed_bytes} were read; allowed is a file that nothing writes to",
            )

    def _unpack(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        make: Callable[[], Any] = {
            "gzip": _Zlib,
            "bzip2": bz2.BZ2Decompressor,
            "xz": lzma.LZMADecompressor,
            "Zstandard": lambda: _zstd(self.path)(),
        }[str(self.packing)]
        unpacker, fresh = make(), True
        for piece in pieces:
            data = piece
            while data or not (fresh or unpacker.needs_input):
                if fresh:
                    # gzip and xz allow zeros between and after streams.
                    data = data.lstrip(b"\0") if self.packing in ("gzip", "xz") else data
                    if not data:
                        break
                try:
                    unpacked = unpacker.decompress(data, CHUNK_BYTES)
                except Exception as error:  # zlib.error, OSError, LZMAError, ZstdError
                    raise FileError(
                        self.path,
                        f"near byte {self._packed_bytes} of the packed file: {error}; allowed is a whole "
                        f"{self.packing} file",
                    ) from error
                data, fresh = b"", False
                if unpacker.eof:
                    data, fresh = unpacker.unused_data, True
                    unpacker = make()
                if unpacked:
                    yield unpacked
        if not fresh:
            raise FileError(
                self.path,
                f"the file ends inside its packed data; it is truncated; allowed is a whole {self.packing} file",
            )
