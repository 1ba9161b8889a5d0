"""Takes the Dockerfile's first stage apart, so that `deploy/check` can run it without an engine.

dockerfile.py copies   the paths that it copies from the context, one a line
dockerfile.py env      its ENV settings, as NAME=VALUE, one a line
dockerfile.py run      its RUN step, as a shell reads it, without the cache mounts
"""

import re
import sys


def instructions():
    with open("Dockerfile", encoding="utf-8") as file:
        lines = [line for line in file if not line.lstrip().startswith("#")]
    joined = "".join(lines).replace("\\\n", " ")
    return [line.strip().split(None, 1) for line in joined.splitlines() if line.strip()]


def first_stage():
    stage = []
    for word, rest in instructions():
        if word == "FROM" and stage:
            return stage
        stage.append((word, rest))
    raise SystemExit("the Dockerfile has one stage")


def main(what):
    stage = first_stage()
    if what == "copies":
        for word, rest in stage:
            if word == "COPY":
                print("\n".join(rest.split()[:-1]))
    elif what == "env":
        for word, rest in stage:
            if word == "ENV":
                print(re.sub(r'^(\w+)="(.*)"$', r"\1=\2", rest))
    elif what == "run":
        (run,) = [rest for word, rest in stage if word == "RUN"]
        print(re.sub(r"--mount=\S+\s+", "", run))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")
