"""same.py ONE OTHER: whether two kustomizes made the same of a base.

The hash in the names of generated ConfigMaps and the order of what is merged by name differ between releases.
"""

import json
import re
import sys

import yaml


def plain(value):
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        named = all(isinstance(one, dict) and "name" in one for one in value)
        return sorted(map(plain, value), key=lambda one: one["name"]) if named else [plain(one) for one in value]
    if isinstance(value, str):
        return re.sub(r"^([a-z-]*scopegate(?:-config)?)-[a-z0-9]{10}$", r"\1", value)
    return value


def documents(path):
    with open(path, encoding="utf-8") as file:
        return sorted(json.dumps(plain(one), sort_keys=True) for one in yaml.safe_load_all(file))


one, other = map(documents, sys.argv[1:])
for left, right in zip(one, other):
    if left != right:
        print(left, right, sep="\n")
sys.exit(one != other)
