"""What the harness leaves on the disk, read: its cells, its tables, and steps of a training.

Needs Python's standard library alone."""
import csv
import json
import math
import os
import time

from limits import Failed


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def cell_seconds(store, stage):
    """Seconds of the finished cells of a stage, in the order in which they ended."""
    found = []
    for folder, _, names in os.walk(os.path.join(store, "cells")):
        for name in names:
            path = os.path.join(folder, name)
            record = read_json(path).get("record", {}) if name.endswith(".json") else {}
            if record.get("stage") == stage:
                seconds = record["provenance"]["counters"]["seconds"]
                found.append((os.path.getmtime(path), seconds))
    return [seconds for _, seconds in sorted(found)]


def warm_seconds(seconds):
    """The time of all cells, had the first one not loaded the model as well."""
    if len(seconds) < 2:
        return sum(seconds)
    return sum(seconds[1:]) / (len(seconds) - 1) * len(seconds)


def read_csv(path, key):
    with open(path, encoding="utf-8", newline="") as file:
        return {tuple(row[name] for name in key): row for row in csv.DictReader(file)}


def beyond_two_errors(left, right, columns, key):
    """(values compared, those further apart than two standard errors of their difference)."""
    ours, theirs = read_csv(left, key), read_csv(right, key)
    if ours.keys() != theirs.keys():
        raise Failed("the two tables do not have the same rows")
    compared, beyond = 0, []
    for at, row in ours.items():
        for column in columns:
            values = [(r[column], r[column + "_std_err"]) for r in (row, theirs[at])]
            if any("" in pair for pair in values):
                if len({value == "" for value, _ in values}) > 1:
                    beyond.append(f"{'/'.join(at)} {column}: one of the two is missing")
                continue
            (a, a_error), (b, b_error) = ((float(v), float(e)) for v, e in values)
            compared += 1
            if abs(a - b) > 2 * math.hypot(a_error, b_error):
                beyond.append(f"{'/'.join(at)} {column}: {a} and {b}")
    return compared, beyond


class Steps:
    """Watches training.csv grow, for so many seconds from its first row on."""

    def __init__(self, path, seconds, now=time.monotonic):
        self.path, self.seconds, self.now = path, seconds, now
        self.first = self.began = self.last = self.ended = None

    def look(self):
        try:
            with open(self.path, encoding="utf-8") as file:
                # The last line may be under way.
                lines = file.read().split("\n")[:-1]
        except OSError:
            return None
        if len(lines) < 2:
            return None
        return int(lines[-1].split(",")[lines[0].split(",").index("step")])

    def is_over(self):
        step, now = self.look(), self.now()
        if step is None:
            return False
        if self.first is None:
            self.first, self.began = step, now
        self.last, self.ended = step, now
        # Two looks at one step say nothing, however long it takes.
        return self.last != self.first and now - self.began >= self.seconds

    def rate(self):
        """Steps a second, of all the time that was watched."""
        if self.first is None or self.last == self.first:
            return None
        return (self.last - self.first) / (self.ended - self.began)
