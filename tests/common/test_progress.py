"""Does progress stay readable where there is no terminal, and is it a bar where there is one?"""

import io

import pytest

from eden.common import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_are_rate_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    stream = io.StringIO()
    with progress.task("profile", 40, stream=stream) as task:
        for step in range(40):
            task.note(f"step {step}")
            task.advance()
            now += 0.5
    lines = stream.getvalue().splitlines()
    assert lines[0] == "profile: 0/40, step 0 (0 s)"
    assert lines[-1] == "profile: 40/40, step 39 (20 s)"
    assert len(lines) == 2 + 3  # at 5, 10 and 15 seconds


def test_last_line_is_written_after_an_error() -> None:
    stream = io.StringIO()

    def job() -> None:
        with progress.task("profile", stream=stream) as task:
            task.advance()
            task.advance(2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job()
    assert stream.getvalue().splitlines()[-1].startswith("profile: 3 (")


def test_total_may_change() -> None:
    stream = io.StringIO()
    with progress.task("fit", 3, stream=stream) as task:
        task.expect(7)
        task.advance()
    assert "fit: 1/7" in stream.getvalue()


def test_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with progress.task("profile", 3, stream=stream) as task:
        task.expect(4)
        task.advance(4)
        task.note("done so far")
    assert "profile" in stream.getvalue()
    assert "4/4" in stream.getvalue()
    assert "done so far" in stream.getvalue()


def test_silence_and_default_stream(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.task("profile", 3, show=False) as task:
        task.expect(4)
        task.note("anything")
        task.advance()
    assert capsys.readouterr() == ("", "")
    with progress.task("profile", 3) as task:
        task.advance()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "profile: 1/3" in captured.err


def test_no_total_is_passed() -> None:
    for stream in (io.StringIO(), Terminal()):
        with progress.task("profile", 3, stream=stream) as task:
            task.advance(5)
        assert "5/5" in stream.getvalue()
        with progress.task("profile", None, stream=stream) as task:
            task.advance(7)
            task.expect(6)
        assert "7/6" not in stream.getvalue()
