"""Rounds → medians with their extremes, as ratios to one proxy, as text and JSON."""

import statistics

# What all others are told in ratios to; the first that was measured where it was not.
BASE = "nginx"


class Rounds:
    """What was measured, as it comes: whatever fails later, this stays."""

    def __init__(self):
        # metric → proxy → round → value
        self.values = {}
        # What failed, by proxy and case, and why: the first line is said in the table.
        self.failed = {}

    def note(self, metric, proxy, number, value):
        self.values.setdefault(metric, {}).setdefault(proxy, {})[number] = value

    def fail(self, proxy, case, why):
        self.failed[proxy, case] = str(why)


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(rounds, base):
    """Of each round its own ratio: what else ran on the machine then, ran for both."""
    both = [rounds[number] / base[number] for number in rounds if number in base]
    return {"ratio": spread(both)} if both else {}


def base_of(names):
    return BASE if BASE in names else min(names, key=lambda name: name == "no proxy")


def summary(rounds):
    """For each metric and proxy its value, and its ratio to the base of that metric."""
    result = {}
    for metric, proxies in rounds.values.items():
        base = proxies[base_of(proxies)]
        result[metric] = {
            name: {"value": spread(list(values.values()))} | ratios(values, base) for name, values in proxies.items()
        }
    return result


def shown(entry, digits):
    value, ratio = entry["value"], entry.get("ratio")
    text = f"{value['median']:.{digits}f}"
    if ratio:
        text = f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})  {text}"
    return text


def table(result, units):
    """One block for each metric: ratio to the base, median with min and max, then the median itself."""
    lines = []
    for metric, proxies in result.items():
        unit, digits = units(metric)
        lines.append(f"{metric}: × {base_of(proxies)}, median (min–max)  {unit}")
        width = max(map(len, proxies))
        lines += [f"  {name:<{width}}  {shown(entry, digits)}" for name, entry in proxies.items()]
        lines.append("")
    return "\n".join(lines)


def failures(failed):
    return [f"FAILED  {proxy}, {case}: {why.splitlines()[0] if why else '?'}" for (proxy, case), why in failed.items()]
