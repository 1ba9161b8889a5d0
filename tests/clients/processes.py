"""What the suites start, so that all of it is ended, by its id, however the run ends."""

import subprocess
import threading

# A gate drains for at most 5 s.
END_MAX_S = 15

_lock = threading.Lock()
_running: set[subprocess.Popen] = set()
_ending = False


def start(command: list, **how) -> subprocess.Popen:
    with _lock:
        if _ending:
            raise InterruptedError("the run is being ended")
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **how)
        _running.add(process)
        return process


def end(process: subprocess.Popen) -> int:
    """Asks it to end, and makes it end. Its exit code."""
    process.terminate()
    try:
        code = process.wait(END_MAX_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    with _lock:
        _running.discard(process)
    return code


def end_all():
    """Nothing is started after this."""
    global _ending
    with _lock:
        _ending = True
        left = list(_running)
    for process in left:
        end(process)
