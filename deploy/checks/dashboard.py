"""Prints the dashboard's expressions as a file of rules: `promtool check rules` says whether each is PromQL.

PromQL's parser is Prometheus' own. What Grafana puts in is put in here.
"""

import json
import sys

PUT_IN = {"$__rate_interval": "5m", "$gate": ".*", "$app": ".*"}


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["expr"]


def main(path):
    with open(path, encoding="utf-8") as file:
        dashboard = json.load(file)
    rules = []
    for number, expression in enumerate(expressions(dashboard)):
        for word, value in PUT_IN.items():
            expression = expression.replace(word, value)
        rules.append({"record": f"dashboard:{number}", "expr": expression})
    json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
