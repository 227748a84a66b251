#!/usr/bin/env python3
"""What an auditor may ask of a transparency log beyond `tlog_verify.py`, by its means: an older checkpoint that the log must
continue, a quorum of witnesses, pruned bundles, older partial tiles that still lie in the folder, and one entry's proof (C2SP
tlog-proof). It prints one JSON line {"client", "version", "ok", "seen", "size", "root"} and exits 0 or 1 (2: usage).

LOG is a folder, an http:// or https:// URL, or `-` for none: then only a proof is verified.
"""

import argparse
import base64
import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

from tlog_verify import (COSIGNATURE, HASH, WIDTH, bundle_leaves, decode64, load, need, open_checkpoint, place, read, sha256,
                         spans, tree_hash, verify_log, verify_note)

VERSION = "3"


class Served:
    """A log under an address, or a file of it: as much of a path as `tlog_verify` needs."""

    def __init__(self, url):
        self.url = url

    def __truediv__(self, path):
        return Served(f"{self.url.rstrip('/')}/{path}")

    def read_bytes(self):
        try:
            with urllib.request.urlopen(self.url, timeout=30) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise FileNotFoundError(self.url) if error.code == 404 else error from None


def encode64(data):
    return base64.b64encode(data).decode()


def witnesses(note, args):
    """Which witnesses cosigned, and when. Some may be missing, down to the quorum; a wrong cosignature is always a fault."""
    times = {vkey.split("+")[0]: verify_note(note, vkey, COSIGNATURE)[1] for vkey in args.witness}
    cosigned = [f"cosigned by {name} at {max(given)}" for name, given in times.items() if given]
    quorum = len(times) if args.quorum is None else args.quorum
    need(len(cosigned) >= quorum, f"{len(cosigned)} of {len(times)} witnesses cosigned, {quorum} must")
    return cosigned


class Leaves:
    """Leaf hashes: of the entries, and of a bundle that ends below the minimum index and is pruned, from its tile."""

    def __init__(self, minimum):
        self.minimum, self.pruned = minimum, 0

    def __call__(self, log, index, width):
        if (index + 1) * WIDTH > self.minimum or read(log, place("entries", index)) is not None:
            return bundle_leaves(log, index, width)
        data, path, _ = load(log, 0, index, width)
        need(len(data) == WIDTH * HASH, f"{path} has {len(data)} bytes")
        self.pruned += WIDTH
        return [data[at:at + HASH] for at in range(0, len(data), HASH)]


def compare_older(log, hashes):
    """Compares the older partial tiles that are still in the folder; how many they are."""
    level, compared = 0, 0
    while hashes:
        for index, width in spans(len(hashes)):
            wanted = b"".join(hashes[index * WIDTH:index * WIDTH + width])
            for old in log.glob(f"{place(level, index)}.p/*"):
                if int(old.name) < width:
                    need(old.read_bytes() == wanted[:int(old.name) * HASH], f"{old.relative_to(log)} does not match the entries")
                    compared += 1
        level, hashes = level + 1, [tree_hash(hashes[at:at + WIDTH]) for at in range(0, len(hashes) - WIDTH + 1, WIDTH)]
    return compared


def judge_log(args):
    leaves_of = Leaves(args.minimum)
    log = Served(args.log) if args.log.startswith(("http://", "https://")) else Path(args.log)
    note, root, leaves, tiles = verify_log(log, args.origin, args.vkey, leaves_of)
    size, tiles = len(leaves), tiles + (compare_older(log, leaves) if isinstance(log, Path) else 0)
    seen = [f"{size} entries, {tiles} tiles, root {encode64(root)}"]
    if leaves_of.pruned:
        seen.append(f"{leaves_of.pruned} entries are pruned: only their hashes were read")
    if args.older:
        before, start = open_checkpoint(args.older.read_bytes(), args.origin, args.vkey)
        need(before <= size, f"the tree has {size} entries, the older one had {before}")
        need(tree_hash(leaves[:before]) == start, f"the older tree of {before} entries is not the beginning of this one")
        seen.append(f"the older tree of {before} entries is its beginning")
    return seen + witnesses(note, args), {"size": size, "root": encode64(root)}


def path_root(leaf, index, size, path):
    """The root that an inclusion proof leads to (RFC 6962 section 2.1.1): downwards, as the tree is split."""
    if size == 1:
        need(not path, "the proof is too long")
        return leaf
    need(path, "the proof is too short")
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return sha256(b"\x01", path_root(leaf, index, split, path[:-1]), path[-1])
    return sha256(b"\x01", path[-1], path_root(leaf, index - split, size - split, path[:-1]))


def judge_proof(args):
    """A C2SP tlog-proof and the entry that it is of."""
    head, blank, note = args.proof.read_bytes().decode().partition("\n\n")
    need(blank, "the proof has no checkpoint")
    form = r"c2sp\.org/tlog-proof@v1\n(extra [A-Za-z0-9+/=]*\n)?index (0|[1-9][0-9]*)((?:\n[A-Za-z0-9+/=]{44})*)"
    found = re.fullmatch(form, head)
    need(found, "the proof is not in the form of tlog-proof")
    path = [decode64(line) for line in found[3].split()]
    size, root = open_checkpoint(note.encode(), args.origin, args.vkey)
    index = int(found[2])
    need(index < size, f"entry {index} is not in a tree of {size}")
    reached = path_root(sha256(b"\x00", args.entry.read_bytes()), index, size, path)
    need(reached == root, f"entry {index} is not proved to be in the tree")
    return [f"entry {index} of {size} is in the tree {encode64(root)}"] + witnesses(note.encode(), args)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("log", "origin", "vkey"):
        parser.add_argument(name, metavar=name.upper())
    parser.add_argument("--witness", metavar="VKEY", action="append", default=[], help="a witness that may cosign")
    parser.add_argument("--quorum", metavar="N", type=int, help="how many of the witnesses must cosign (default: all)")
    parser.add_argument("--older", metavar="FILE", type=Path, help="an older checkpoint of the log")
    parser.add_argument("--minimum", metavar="INDEX", type=int, default=0, help="bundles that end below it may be pruned")
    parser.add_argument("--proof", metavar="FILE", type=Path, help="a .tlog-proof")
    parser.add_argument("--entry", metavar="FILE", type=Path, help="the entry that the proof is of")
    parser.add_argument("--expect-fault", action="store_true", help="the log is broken: succeed only if that is found")
    args = parser.parse_args()
    if (args.proof is None) != (args.entry is None) or (args.log == "-" and args.proof is None):
        parser.error("a proof needs an entry, and without a log there must be a proof")
    return args


def main():
    args, head = parse_args(), {}
    try:
        seen, head = judge_log(args) if args.log != "-" else ([], head)
        seen = "; ".join(seen + (judge_proof(args) if args.proof else []))
        ok = not args.expect_fault
        seen = seen if ok else f"no fault was found: {seen}"
    except ValueError as error:
        ok, seen = args.expect_fault, str(error)
    except OSError as error:
        ok, seen = False, f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "tlog-python", "version": VERSION, "ok": ok, "seen": seen, **head}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
