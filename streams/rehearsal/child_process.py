"""A child process that never outlives the process that started it."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

# The shell becomes the command (`exec`), so its process id is the child's. Beside it runs a watcher whose
# standard input is a pipe that only we hold open. When that pipe closes, however we died, it kills the child;
# a line on the pipe says that the child has already ended. PR_SET_PDEATHSIG would send its signal when the
# *thread* that forked ends, and does not exist on macOS.
_GUARD = 'exec 3<&0 </dev/null; { read -r _ <&3 || kill -9 $$; } >/dev/null 2>&1 & exec "$@" 3<&-'

_LOG_TAIL_BYTES = 2_000


class ChildProcess:
    """Run a command that the terminal's Ctrl-C does not reach, and end it when its parent ends.

    Use it as a context manager, or call `stop`.

    Parameters
    ----------
    command
        Program and arguments.
    cwd, env
        As for `subprocess.Popen`.
    log_path
        Where the command's output is appended; without it, an unnamed temporary file that `log_tail` reads.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        self._log: BinaryIO
        if log_path is None:
            self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_finish`
        else:
            self._log = log_path.open("a+b")
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """The command's process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the command still runs."""
        return self._process.poll() is None

    @property
    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while the command runs."""
        return self._process.poll()

    def log_tail(self, n_bytes: int = _LOG_TAIL_BYTES) -> str:
        """Return the end of what the command has printed, up to so many bytes."""
        if self._log.closed:
            return ""
        handle = self._log.fileno()
        size = os.fstat(handle).st_size
        # pread, because seek would move the place where the command writes: both share one file offset
        tail = os.pread(handle, n_bytes, max(0, size - n_bytes))
        return tail.decode(errors="replace").strip()

    def wait(self, timeout_s: float) -> int:
        """Wait for the command to end by itself and return its exit status.

        Raises
        ------
        subprocess.TimeoutExpired
            It still runs after `timeout_s`.
        """
        return self._process.wait(timeout_s)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the command, if it still runs."""
        self._process.send_signal(number)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask the command to end and kill it after `timeout_s`; harmless when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._finish()

    def kill(self) -> None:
        """End the command at once (SIGKILL), as a crash or a power cut would."""
        self._process.kill()
        self._finish()

    def _finish(self) -> None:
        self._process.wait()
        pipe = self._process.stdin
        assert pipe is not None, "opened by the constructor"
        if not pipe.closed:
            try:
                pipe.write(b"\n")  # the watcher ends without killing: another process may have the id now
                pipe.close()
            except BrokenPipeError:  # the watcher ended first
                pass
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


@contextmanager
def unheard_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C wait until the block ends; a process started within the block never gets it.

    For children of `multiprocessing`: they stay in the terminal's process group, and could set a handler only
    after they have imported what they run. A blocked signal is inherited.
    """
    # Started now: with the first child it would unblock the signal again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
