"""Whether the systemd unit lets the gate do all that it did under strace, system call by system call.

syscalls.py TRACE UNIT

systemd itself says which calls its names in @ stand for. A filter that lacks a call would only be noticed when the
gate needs it.
"""

import re
import subprocess
import sys


def calls_of(trace):
    """The calls of the gate and its threads: whoever first appears after the gate's own execve, and who called that."""
    gate, others, calls, sockets = set(), set(), set(), set()
    line_of = re.compile(r"(\d+)\s+(?:<\.\.\. )?(\w+)(?:\((.*)| resumed)")
    begun = False
    with open(trace, encoding="utf-8", errors="replace") as file:
        for line in file:
            if not (found := line_of.match(line)):
                continue
            process, call, arguments = found[1], found[2], found[3] or ""
            if call == "execve" and arguments.startswith('"/scopegate", ["/scopegate", "serve"'):
                begun = True
                gate.add(process)
                others.discard(process)
                continue
            if not begun:
                others.add(process)
            elif process not in others:
                gate.add(process)
                calls.add(call)
                if call == "socket" and arguments:
                    sockets.add(arguments.split(",")[0])
                if call in ("mmap", "mprotect") and "PROT_WRITE|PROT_EXEC" in arguments:
                    raise SystemExit(f"memory that is written and run: {line}")
    if not begun or len(gate) < 3 or len(calls) < 30:
        raise SystemExit(f"{trace} shows no gate at work: {len(gate)} threads, {len(calls)} calls")
    return calls, sockets


def settings_of(unit, key):
    with open(unit, encoding="utf-8") as file:
        return [line.split("=", 1)[1].split() for line in map(str.strip, file) if line.startswith(f"{key}=")]


def expand(name):
    if not name.startswith("@"):
        return {name}
    said = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True)
    members = [line.strip() for line in said.stdout.splitlines()[1:]]
    return set().union(*(expand(member) for member in members if member and not member.startswith("#")))


def main(trace, unit):
    calls, sockets = calls_of(trace)
    allowed = set()
    for words in settings_of(unit, "SystemCallFilter"):
        taken = words[0].startswith("~")
        names = set().union(*(expand(word.lstrip("~")) for word in words))
        allowed = allowed - names if taken else allowed | names
    if refused := calls - allowed:
        raise SystemExit(f"the unit refuses {', '.join(sorted(refused))}")
    (families,) = settings_of(unit, "RestrictAddressFamilies")
    if refused := sockets - set(families):
        raise SystemExit(f"the unit refuses sockets of {', '.join(sorted(refused))}")
    print(f"note: {len(calls)} system calls, {', '.join(sorted(sockets))}: allowed")


if __name__ == "__main__":
    main(*sys.argv[1:])
