#!/usr/bin/env python3
"""An independent verifier of a transparency log in a folder (C2SP tlog-tiles, tlog-checkpoint and signed-note).

It opens the checkpoint with the log's verifier key, reads every entry bundle, hashes the tree again (RFC 6962), and
compares the root and every tile with it. It imports nothing of Marque and shares no code with it. It prints one JSON
line {"client", "version", "ok", "seen"} and exits 0 or 1 (2: usage).

    tlog_verify.py DIR ORIGIN VKEY
"""

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

VERSION = "1"
WIDTH = 256
HASH = 32
ED25519 = 1


class Broken(Exception):
    """Something in the log is not as it must be."""


def need(holds, what):
    if not holds:
        raise Broken(what)


def decode64(text, what):
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise Broken(f"{what} is not base64") from None


# Signed notes

def open_vkey(vkey):
    """`name+hex(key id)+base64(type, key)`; the key id must be the key's own."""
    parts = vkey.split("+", 2)
    need(len(parts) == 3 and re.fullmatch("[0-9a-f]{8}", parts[1]), "the verifier key is not `name+id+key`")
    name, typed = parts[0], decode64(parts[2], "the verifier key")
    need(len(typed) == 1 + HASH and typed[0] == ED25519, "the verifier key is not an Ed25519 key")
    key_id = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4]
    need(key_id.hex() == parts[1], "the verifier key does not have the id it names")
    return name, key_id, Ed25519PublicKey.from_public_bytes(typed[1:])


def open_note(note, vkey):
    """The note's text, if the key signed it; other keys' signatures are passed over."""
    name, key_id, key = open_vkey(vkey)
    try:
        text = note.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Broken("the note is not UTF-8") from None
    need(not re.search("[\x00-\x09\x0b-\x1f]", text), "the note has control characters")
    body, blank, signatures = text.rpartition("\n\n")
    need(blank and signatures.endswith("\n"), "the note has no signatures")
    body += "\n"
    verified = False
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch("— ([^ +]+) ([A-Za-z0-9+/=]+)", line)
        need(found, f"`{line}` is not a signature line")
        blob = decode64(found[2], "a signature")
        need(len(blob) > 4, "a signature is too short")
        if (found[1], blob[:4]) != (name, key_id):
            continue
        try:
            key.verify(blob[4:], body.encode())
        except InvalidSignature:
            raise Broken(f"the signature of `{name}` is wrong") from None
        verified = True
    need(verified, f"`{name}` did not sign the checkpoint")
    return body


def open_checkpoint(note, origin, vkey):
    lines = open_note(note, vkey)[:-1].split("\n")
    need(len(lines) >= 3 and all(lines), "the checkpoint has less than three lines, or an empty one")
    need(lines[0] == origin, f"the checkpoint is of `{lines[0]}`, not of `{origin}`")
    need(re.fullmatch("0|[1-9][0-9]*", lines[1]), f"`{lines[1]}` is not a size")
    root = decode64(lines[2], "the root")
    need(len(root) == HASH, "the root is not a SHA-256 hash")
    return int(lines[1]), root


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


# Tiles

def position(index, width):
    groups = f"{index % 1000:03}"
    while index >= 1000:
        index //= 1000
        groups = f"x{index % 1000:03}/{groups}"
    return groups if width == WIDTH else f"{groups}.p/{width}"


def load(folder, kind, index, width):
    """A tile or bundle, its path, and how many it must hold; where a partial one was removed, the full one stands for it."""
    for held in (width, WIDTH):
        path = folder / "tile" / kind / position(index, held)
        if path.is_file():
            return path.read_bytes(), path.relative_to(folder), held
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


def read_leaves(folder, size):
    leaves = []
    for index, width in spans(size):
        data, path, held = load(folder, "entries", index, width)
        entries = split_bundle(data, path)
        need(len(entries) == held, f"{path} has {len(entries)} entries")
        leaves += [leaf_hash(entry) for entry in entries[:width]]
    return leaves


def compare_tiles(folder, leaves):
    """Compares the tiles that this size needs, then whatever older partial tiles are still there."""
    level, hashes, compared = 0, leaves, 0
    while hashes:
        for index, width in spans(len(hashes)):
            data, path, held = load(folder, str(level), index, width)
            wanted = b"".join(hashes[index * WIDTH:index * WIDTH + width])
            need(len(data) == held * HASH and data.startswith(wanted), f"{path} does not match the entries")
            compared += 1
            for old in (folder / "tile" / str(level)).glob(position(index, WIDTH) + ".p/*"):
                if int(old.name) < width:
                    need(old.read_bytes() == wanted[:int(old.name) * HASH], f"{old.relative_to(folder)} does not match the entries")
                    compared += 1
        full = len(hashes) // WIDTH * WIDTH
        hashes = [tree_hash(hashes[at:at + WIDTH]) for at in range(0, full, WIDTH)]
        level += 1
    return compared


def verify(folder, origin, vkey):
    size, root = open_checkpoint((folder / "checkpoint").read_bytes(), origin, vkey)
    leaves = read_leaves(folder, size)
    need(tree_hash(leaves) == root, f"the entries do not hash to the signed root {base64.b64encode(root).decode()}")
    tiles = compare_tiles(folder, leaves)
    return f"{size} entries, {tiles} tiles, root {base64.b64encode(root).decode()}"


def main():
    if len(sys.argv) != 4:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        ok, seen = True, verify(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    except Broken as broken:
        ok, seen = False, str(broken)
    except (OSError, ValueError) as error:
        ok, seen = False, f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "tlog-python", "version": VERSION, "ok": ok, "seen": seen}, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
