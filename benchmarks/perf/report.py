"""What the parts of device.py have said: lines of a table, on the disk as soon as they are said.

Needs Python's standard library alone."""
import dataclasses
import json
import os
import sys
import time
import traceback

from limits import Clock, Failed, OutOfTime, Skipped

SCHEMA = 1
# Characters of a message in the table; device.json has more of it.
MOST_WORDS = 160


@dataclasses.dataclass
class Row:
    """A line of the table: seconds (unit s), rates (unit /s), or words."""

    part: str
    what: str
    ours: object = None
    theirs: object = None
    unit: str = ""
    share: object = None
    their_share: object = None
    note: str = ""

    @property
    def ratio(self):
        """How many times faster ours is."""
        numbers = (int, float)
        if not isinstance(self.ours, numbers) or not isinstance(self.theirs, numbers):
            return None
        better, worse = (self.ours, self.theirs) if self.unit == "/s" else (self.theirs, self.ours)
        return better / worse if worse > 0 else None


def shown(value, unit):
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    digits = 1 if value >= 10 else 2
    return f"{value:,.{digits}f}{'' if unit == '/s' else ' '}{unit}".rstrip()


def percent(share):
    return "" if share is None else f"{100 * share:.0f} %"


def table(rows):
    """The rows as Markdown."""
    lines = ["| part | what | ours | theirs | ratio | share of peak | note |",
             "|---|---|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        cells = [row.part, row.what, shown(row.ours, row.unit), shown(row.theirs, row.unit), ratio,
                 percent(row.share), row.note]
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in cells]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def heading(about, parts):
    """A sentence above the table: when, on what, and with which versions."""
    peak = parts.get("peak", {}).get("details", {})
    day = time.strftime("%Y-%m-%d", time.gmtime(about["started_unix"]))
    words = [day, peak.get("device", about["device"])]
    words += [f"torch {peak['torch']}"] if "torch" in peak else []
    words += [about["harness"], f"{about['processors']} processors"]
    words += [f"{about['threads']} threads"] if about["threads"] else []
    options = " ".join(about["command"])
    return f"{', '.join(words)}: `python3 benchmarks/perf/device.py {options}`\n\n"


def write_whole(path, text):
    """Writes a file so that it is there whole or not at all."""
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + ".tmp", path)


class Record:
    """What the parts have said so far, on the disk as soon as it is said."""

    def __init__(self, out, about):
        self.out, self.about = out, about
        self.parts, self.rows = {}, []
        os.makedirs(out, exist_ok=True)

    def write(self):
        rows = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in self.rows]
        document = {"schema": SCHEMA, **self.about, "parts": self.parts, "rows": rows}
        write_whole(os.path.join(self.out, "device.json"), json.dumps(document, indent=1) + "\n")
        write_whole(os.path.join(self.out, "device.md"), self.text())

    def text(self):
        return heading(self.about, self.parts) + table(self.rows)

    def part(self, name, limit, total, work):
        """Runs one part; whatever it does, the next one can be run after it."""
        part = self.parts[name] = {"status": "running", "limit_s": limit, "details": {}}
        self.write()
        began, rows = time.monotonic(), []
        try:
            work(rows, part["details"], Clock(limit, within=total))
            part["status"] = "ok"
        except Skipped as reason:
            self.say(part, rows, name, "skipped", reason, [])
        except OutOfTime as error:
            self.say(part, rows, name, "out of time", error, error.lines)
        except Failed as error:
            self.say(part, rows, name, "failed", error, error.lines)
        except (OSError, ValueError, LookupError, TypeError) as error:
            what = f"what a command left cannot be used ({type(error).__name__}: {error})"
            self.say(part, rows, name, "failed", what, traceback.format_exc().splitlines()[-6:])
        part["seconds"] = round(time.monotonic() - began, 3)
        self.rows += rows
        self.write()
        tell(f"{name}: {part['status']}, {part['seconds']:.1f} s of at most {limit:.0f}")

    def say(self, part, rows, name, status, reason, lines):
        part.update(status=status, reason=str(reason), stderr=lines)
        # The last words of a command usually name the cause; the table has room for one line.
        last = [lines[-1][:MOST_WORDS]] if lines else []
        rows.append(Row(name, status, note=": ".join([str(reason), *last])))
        tell("\n".join([f"{name}: {status}: {reason}", *(f"  {line}" for line in lines)]))

    def is_good(self):
        return all(part["status"] in ("ok", "skipped") for part in self.parts.values())


def tell(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
