#!/usr/bin/env python3
"""An independent verifier of a transparency log (C2SP tlog-tiles, tlog-checkpoint, tlog-cosignature, tlog-proof).

It opens the checkpoint with the log's verifier key, reads every entry bundle, hashes the tree again (RFC 6962), and
compares the root and every tile with it. It imports nothing of Marque and shares no code with it. It prints one JSON
line {"client", "version", "ok", "seen", "size", "root"} and exits 0 or 1 (2: usage).

LOG is a folder, an http:// or https:// URL, or `-` for none: then only a proof is verified.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERSION = "2"
WIDTH = 256
HASH = 32
ED25519, COSIGNATURE = 1, 4


class Broken(Exception):
    """Something in the log is not as it must be."""


def need(holds, what):
    if not holds:
        raise Broken(what)


def encode64(data):
    return base64.b64encode(data).decode()


def decode64(text):
    data = base64.b64decode(text, validate=True)
    need(encode64(data) == text, f"`{text}` is not how its bytes are written in base64")
    return data


# Signed notes

def open_vkey(vkey, kind):
    """`name+hex(key id)+base64(type, key)`; the key id must be the key's own."""
    parts = vkey.split("+", 2)
    need(len(parts) == 3 and re.fullmatch("[0-9a-f]{8}", parts[1]), "the verifier key is not `name+id+key`")
    name, typed = parts[0], decode64(parts[2])
    need(len(typed) == 1 + HASH and typed[0] == kind, f"the verifier key of `{name}` is not of type {kind}")
    key_id = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    need(key_id.hex() == parts[1], f"the verifier key of `{name}` does not have the id it names")
    return name, key_id, Ed25519PublicKey.from_public_bytes(typed[1:])


def verify_note(note, vkey, kind):
    """The note's text, and the times of the key's signatures on it, all of which must be right (0 for one that has none)."""
    name, key_id, key = open_vkey(vkey, kind)
    text = note.decode()
    need(not re.search("[\x00-\x09\x0b-\x1f]", text), "the note has control characters")
    body, blank, signatures = text.rpartition("\n\n")
    need(blank and signatures.endswith("\n"), "the note has no signatures")
    times = []
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch("— ([^ +]+) ([A-Za-z0-9+/]{7,}=*)", line)
        need(found, f"`{line}` is not a signature line")
        blob = decode64(found[2])
        if (found[1], blob[:4]) == (name, key_id):
            time = int.from_bytes(blob[4:12], "big") if kind == COSIGNATURE else 0
            message = f"cosignature/v1\ntime {time}\n{body}\n" if kind == COSIGNATURE else body + "\n"
            try:
                key.verify(blob[12 if kind == COSIGNATURE else 4:], message.encode())
            except InvalidSignature:
                raise Broken(f"the signature of `{name}` is wrong") from None
            times.append(time)
    return body + "\n", times


def open_checkpoint(note, args):
    """Size and root, if the log signed them."""
    body, signed = verify_note(note, args.vkey, ED25519)
    need(signed, f"`{args.origin}` did not sign the checkpoint")
    lines = body[:-1].split("\n")
    need(len(lines) >= 3 and all(lines), "the checkpoint has less than three lines, or an empty one")
    need(lines[0] == args.origin, f"the checkpoint is of `{lines[0]}`, not of `{args.origin}`")
    need(re.fullmatch("0|[1-9][0-9]*", lines[1]), f"`{lines[1]}` is not a size")
    root = decode64(lines[2])
    need(len(root) == HASH, "the root is not a SHA-256 hash")
    return int(lines[1]), root


def witnesses(note, args):
    """Which witnesses cosigned, and when. Some may be missing, down to the quorum; a wrong cosignature is always a fault."""
    times = {vkey.split("+")[0]: verify_note(note, vkey, COSIGNATURE)[1] for vkey in args.witness}
    cosigned = [f"cosigned by {name} at {max(given)}" for name, given in times.items() if given]
    quorum = len(times) if args.quorum is None else args.quorum
    need(len(cosigned) >= quorum, f"{len(cosigned)} of {len(times)} witnesses cosigned, {quorum} must")
    return cosigned


# The tree, RFC 6962 section 2.1

def leaf_hash(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_hash(hashes):
    """MTH: a tree is split at the largest power of two below its size, so every full pair goes up and the odd one waits."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    while len(hashes) > 1:
        pairs = [node_hash(*hashes[at:at + 2]) for at in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(pairs) * 2:]
    return hashes[0]


def path_root(leaf, index, size, path):
    """The root that an inclusion proof leads to (section 2.1.1): downwards, as the tree is split."""
    if size == 1:
        need(not path, "the proof is too long")
        return leaf
    need(path, "the proof is too short")
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return node_hash(path_root(leaf, index, split, path[:-1]), path[-1])
    return node_hash(path[-1], path_root(leaf, index - split, size - split, path[:-1]))


# Tiles

def position(index, width):
    groups = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        groups = f"x{index % 1000:03}/{groups}"
    return groups if width == WIDTH else f"{groups}.p/{width}"


def read(log, path):
    """A file of the log, or None where there is none."""
    try:
        if not log.startswith(("http://", "https://")):
            return (Path(log) / path).read_bytes()
        with urllib.request.urlopen(f"{log.rstrip('/')}/{path}", timeout=30) as response:
            return response.read()
    except (FileNotFoundError, urllib.error.HTTPError) as error:
        if getattr(error, "code", 404) != 404:
            raise
        return None


def load(log, kind, index, width):
    """A tile or bundle, its path, and how many it must hold; where a partial one was removed, the full one stands for it."""
    for held in (width, WIDTH):
        path = f"tile/{kind}/{position(index, held)}"
        data = read(log, path)
        if data is not None:
            return data, path, held
    raise Broken(f"tile/{kind}/{position(index, width)} is missing")


def spans(count):
    """Index and width of every tile of a level with so many hashes."""
    return [(start // WIDTH, min(WIDTH, count - start)) for start in range(0, count, WIDTH)]


def split_bundle(data, path):
    entries, at = [], 0
    while at < len(data):
        need(at + 2 <= len(data), f"{path} ends within a length")
        end = at + 2 + int.from_bytes(data[at:at + 2], "big")
        need(end <= len(data), f"{path} ends within an entry")
        entries.append(data[at + 2:end])
        at = end
    return entries


def read_leaves(log, size, minimum):
    """The leaf hashes: of the entries, and of a bundle that ends below the minimum index and is pruned, from its tile."""
    leaves, pruned = [], 0
    for index, width in spans(size):
        if (index + 1) * WIDTH <= minimum and read(log, f"tile/entries/{position(index, WIDTH)}") is None:
            data, path, _ = load(log, "0", index, width)
            need(len(data) == WIDTH * HASH, f"{path} has {len(data)} bytes")
            leaves += [data[at:at + HASH] for at in range(0, len(data), HASH)]
            pruned += WIDTH
            continue
        data, path, held = load(log, "entries", index, width)
        entries = split_bundle(data, path)
        need(len(entries) == held, f"{path} has {len(entries)} entries")
        leaves += [leaf_hash(entry) for entry in entries[:width]]
    return leaves, pruned


def compare_tiles(log, leaves):
    """Compares the tiles that this size needs, then whatever older partial tiles are still in the folder."""
    level, hashes, compared = 0, leaves, 0
    while hashes:
        for index, width in spans(len(hashes)):
            data, path, held = load(log, str(level), index, width)
            wanted = b"".join(hashes[index * WIDTH:index * WIDTH + width])
            need(len(data) == held * HASH and data.startswith(wanted), f"{path} does not match the entries")
            compared += 1
            for old in (Path(log) / "tile" / str(level)).glob(position(index, WIDTH) + ".p/*"):
                if int(old.name) < width:
                    need(old.read_bytes() == wanted[:int(old.name) * HASH], f"{old.relative_to(log)} does not match the entries")
                    compared += 1
        full = len(hashes) // WIDTH * WIDTH
        hashes = [tree_hash(hashes[at:at + WIDTH]) for at in range(0, full, WIDTH)]
        level += 1
    return compared


# What can be verified

def verify_log(args):
    note = read(args.log, "checkpoint")
    need(note is not None, "there is no checkpoint")
    size, root = open_checkpoint(note, args)
    leaves, pruned = read_leaves(args.log, size, args.minimum)
    need(tree_hash(leaves) == root, f"the entries do not hash to the signed root {encode64(root)}")
    seen = [f"{size} entries, {compare_tiles(args.log, leaves)} tiles, root {encode64(root)}"]
    if pruned:
        seen.append(f"{pruned} entries are pruned: only their hashes were read")
    if args.older:
        before, start = open_checkpoint(args.older.read_bytes(), args)
        need(before <= size, f"the tree has {size} entries, the older one had {before}")
        need(tree_hash(leaves[:before]) == start, f"the older tree of {before} entries is not the beginning of this one")
        seen.append(f"the older tree of {before} entries is its beginning")
    return seen + witnesses(note, args), {"size": size, "root": encode64(root)}


def verify_proof(args):
    """A C2SP tlog-proof and the entry that it is of."""
    head, blank, note = args.proof.read_bytes().decode().partition("\n\n")
    need(blank, "the proof has no checkpoint")
    form = r"c2sp\.org/tlog-proof@v1\n(extra [A-Za-z0-9+/=]*\n)?index (0|[1-9][0-9]*)((?:\n[A-Za-z0-9+/=]{44})*)"
    found = re.fullmatch(form, head)
    need(found, "the proof is not in the form of tlog-proof")
    path = [decode64(line) for line in found[3].split()]
    size, root = open_checkpoint(note.encode(), args)
    index = int(found[2])
    need(index < size, f"entry {index} is not in a tree of {size}")
    reached = path_root(leaf_hash(args.entry.read_bytes()), index, size, path)
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
        seen, head = verify_log(args) if args.log != "-" else ([], head)
        seen = "; ".join(seen + (verify_proof(args) if args.proof else []))
        ok = not args.expect_fault
        seen = seen if ok else f"no fault was found: {seen}"
    except (Broken, ValueError) as error:
        ok, seen = args.expect_fault, str(error)
    except OSError as error:
        ok, seen = False, f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "tlog-python", "version": VERSION, "ok": ok, "seen": seen, **head}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
