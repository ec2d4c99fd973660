"""Commands that end: each in a process group of its own, which is killed whole when its time is up.

Needs Python's standard library alone."""
import os
import signal
import subprocess
import tempfile
import time

# Lines of a command's messages that are kept, and the time a killed group is waited for.
KEPT_LINES = 15
GRACE_S = 5.0


class Failed(Exception):
    """A part that went wrong: what happened, and the last messages of the command that failed."""

    def __init__(self, what, lines=()):
        super().__init__(what)
        self.lines = list(lines)


class OutOfTime(Failed):
    """A part that had no time left."""


class Skipped(Exception):
    """A part that cannot run here, and what it would need."""


class Clock:
    """A number of seconds that runs down; a clock inside another one ends no later than it."""

    def __init__(self, seconds, within=None):
        self.end = time.monotonic() + seconds
        if within is not None:
            self.end = min(self.end, within.end)

    def left(self):
        return max(self.end - time.monotonic(), 0.0)


class Ran:
    """What a command left: its exit code, its seconds and its output."""

    def __init__(self, code, seconds, stdout, stderr):
        self.code, self.seconds = code, seconds
        self.stdout, self.stderr = stdout, stderr

    def lines(self):
        """The last lines of its messages."""
        return last_lines(self.stderr or self.stdout)


def last_lines(text):
    # Progress is written over itself with carriage returns.
    lines = [line.strip() for line in text.replace("\r", "\n").splitlines()]
    return [line for line in lines if line][-KEPT_LINES:]


def interrupt(child):
    """Asks a process to end as a person would: a second time where the first asks it to save."""
    for _ in range(2):
        os.killpg(child.pid, signal.SIGINT)
        try:
            child.wait(0.5)
            return
        except subprocess.TimeoutExpired:
            continue


def kill_group(child):
    """Ends a process and every one that it has started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        # It hangs in the system, where a signal does not reach it; the others go on without it.
        pass


def read(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


def run(command, clock, env=None, until=None):
    """Runs a command to its end; out of time it is killed and [`OutOfTime`] is raised.

    `until()` is asked ten times a second and may end the command early, as a success."""
    if clock.left() <= 0:
        raise OutOfTime(f"no time was left to start {os.path.basename(command[0])}")
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        try:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                     env=env, start_new_session=True)
        except OSError as error:
            raise Failed(f"{command[0]} cannot be started: {error}") from error
        try:
            code, is_late = wait(child, clock, until)
        finally:
            # Whatever ends this program or the command, nothing of it goes on.
            kill_group(child)
        ran = Ran(code, time.monotonic() - began, read(out), read(err))
    if is_late:
        name = os.path.basename(command[0])
        raise OutOfTime(f"{name} was ended after {ran.seconds:.0f} s, its time", ran.lines())
    return ran


def wait(child, clock, until):
    """(exit code or None, whether the time was up) of a command that ends, is ended, or is late."""
    while True:
        try:
            return child.wait(min(0.1, max(clock.left(), 0.01))), False
        except subprocess.TimeoutExpired:
            if until is not None and until():
                interrupt(child)
                return 0, False
            if clock.left() <= 0:
                return None, True


def check(ran, what):
    """The same for commands that must succeed."""
    if ran.code != 0:
        raise Failed(f"{what} ended with exit code {ran.code}", ran.lines())
    return ran
