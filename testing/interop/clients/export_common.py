"""What the readers of `export_check.py` share: what must hold, what must be refused, and the log that an export is held against."""

import functools
import hashlib
import json
from pathlib import Path

# A log with fewer entries than this was not written by anything that happened.
LEAST = 40


class Broken(Exception):
    """Something is not as it must be."""


def need(holds, what):
    if not holds:
        raise Broken(what)


def refused(what, read, *errors):
    """The reader must end in one of these errors."""
    try:
        read()
    except errors:
        return
    raise Broken(f"{what} is not refused")


def files(where):
    """A file, or all that are whole in a folder."""
    path = Path(where)
    whole = (file for file in path.glob("*") if file.is_file() and not file.name.endswith(".partial"))
    found = sorted(whole) if path.is_dir() else [path]
    need(found, f"{where} is empty")
    return found


def documents(where):
    """The JSON in files, each of which is one list, or one document a line."""
    for file in files(where):
        text = file.read_text(encoding="utf-8")
        for value in [json.loads(text)] if text.startswith("[") else map(json.loads, text.splitlines()):
            yield from value if isinstance(value, list) else [value]


# The log

class Exported(dict):
    """Leaf hash, identifier and kind of each event by its index, and all of it where the format has it.

    An event may come twice, if it is the same.
    """

    def take(self, index, leaf, identifier, kind, whole=None):
        event = (leaf, identifier, kind, whole)
        need(self.setdefault(int(index), event) == event, f"entry {index} came twice, and is not the same")


def entries_of(ledger):
    """All entries of a log, out of its bundles: each behind its length in two bytes."""
    size = int((ledger / "checkpoint").read_text(encoding="utf-8").split("\n")[1])
    entries = []
    for start in range(0, size, 256):
        path = ledger / "tile/entries" / f"{start // 256:03}"
        if not path.is_file():
            path = Path(f"{path}.p") / str(size - start)
        data, at = path.read_bytes(), 0
        while at < len(data) and len(entries) < size:
            end = at + 2 + int.from_bytes(data[at:at + 2], "big")
            entries.append(data[at + 2:end])
            at = end
    need(len(entries) == size, f"the log has {len(entries)} entries of {size}")
    return entries


def without_prints(value):
    """An event as it leaves: the commitments to fingerprints stay with the log."""
    if isinstance(value, dict):
        return {name: "" if name == "prints" else without_prints(inner) for name, inner in value.items()}
    return [without_prints(inner) for inner in value] if isinstance(value, list) else value


def same(entries, exported):
    for index, entry in enumerate(entries):
        need(index in exported, f"entry {index} was not exported")
        leaf, identifier, kind, whole = exported[index]
        event = json.loads(entry)
        need(leaf == hashlib.sha256(b"\0" + entry).hexdigest(), f"entry {index} has another leaf hash")
        need((identifier, kind) == (event["id"], event["what"]["kind"]), f"entry {index} is another event")
        need(whole in (None, without_prints(event)), f"entry {index} says something else")


def of_log(ledger, exported):
    entries = entries_of(Path(ledger))
    need(len(entries) >= LEAST, f"the log has only {len(entries)} entries")
    same(entries, exported)
    refused("a log with another entry", lambda: same([*entries[:-1], entries[-1] + b" "], exported), Broken)
    refused("a log with one more entry", lambda: same([*entries, *entries[:len(exported) - len(entries) + 1]], exported), Broken)
    return f"; all {len(entries)} entries of the log are there"


# JSON Schema

@functools.lru_cache
def validator(schema):
    import jsonschema

    return jsonschema.Draft202012Validator(json.loads(schema))


def valid(schema, value, what):
    errors = sorted(validator(schema).iter_errors(value), key=lambda e: list(e.path))
    if errors:
        raise Broken("; ".join(f"{what}: {e.message[:200]} at {e.json_path}" for e in errors[:5]))
