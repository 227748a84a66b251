#!/usr/bin/env python3
"""Verifies a whole transparency log (C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature; RFC 6962).

    tlog_verify.py FOLDER ORIGIN VKEY [WITNESS-VKEY...]

It opens the checkpoint with the log's key, hashes the tree again from every entry, and compares root and tiles with it; every
witness that is named must have cosigned. It shares no code with Marque. It exits with 0, or says what is wrong and exits with 1.
`tlog_judge.py` asks more by the same means: a log at an address, a proof, an older checkpoint.
"""

import base64
import hashlib
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH, HASH, ED25519, COSIGNATURE = 256, 32, 1, 4


def need(holds, what):
    if not holds:
        raise ValueError(what)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def decode64(text):
    data = base64.b64decode(text, validate=True)
    need(base64.b64encode(data).decode() == text, f"`{text}` is not how its bytes are written in base64")
    return data


def verify_note(note, vkey, kind):
    """The note's text, and the times of the key's signatures on it, all of which must be right (0 for one that has none)."""
    need(vkey.count("+") >= 2, "the verifier key is not `name+id+key`")
    name, named_id, key = vkey.split("+", 2)
    typed = decode64(key)
    need(len(typed) == 1 + HASH and typed[0] == kind, f"the verifier key of `{name}` is not of type {kind}")
    key_id = sha256(name.encode(), b"\n", typed)[:4]
    need(key_id.hex() == named_id, f"the verifier key of `{name}` does not have the id it names")
    text, times = note.decode(), []
    need(not re.search("[\x00-\x09\x0b-\x1f]", text), "the note has control characters")
    body, blank, signatures = text.rpartition("\n\n")
    need(blank and signatures.endswith("\n"), "the note has no signatures")
    for line in signatures[:-1].split("\n"):
        found = re.fullmatch("— ([^ +]+) ([A-Za-z0-9+/]{7,}=*)", line)
        need(found, f"`{line}` is not a signature line")
        blob, start = decode64(found[2]), 12 if kind == COSIGNATURE else 4
        if (found[1], blob[:4]) == (name, key_id):
            times.append(int.from_bytes(blob[4:start], "big"))
            before = f"cosignature/v1\ntime {times[-1]}\n" if kind == COSIGNATURE else ""
            try:
                Ed25519PublicKey.from_public_bytes(typed[1:]).verify(blob[start:], f"{before}{body}\n".encode())
            except InvalidSignature:
                raise ValueError(f"the signature of `{name}` is wrong") from None
    return body + "\n", times


def open_checkpoint(note, origin, vkey):
    """Size and root, if the log signed them."""
    body, signed = verify_note(note, vkey, ED25519)
    need(signed, f"`{origin}` did not sign the checkpoint")
    lines = body[:-1].split("\n")
    need(lines[0] == origin and len(lines) >= 3 and all(lines), f"the checkpoint is not one of `{origin}`: {lines}")
    need(re.fullmatch("0|[1-9][0-9]*", lines[1]), f"`{lines[1]}` is not a size")
    root = decode64(lines[2])
    need(len(root) == HASH, "the root is not a SHA-256 hash")
    return int(lines[1]), root


def tree_hash(hashes):
    """MTH: a tree is split at the largest power of two below its size, so every full pair goes up and the odd one waits."""
    while len(hashes) > 1:
        pairs = [sha256(b"\x01", *hashes[at:at + 2]) for at in range(0, len(hashes) - 1, 2)]
        hashes = pairs + hashes[len(pairs) * 2:]
    return hashes[0] if hashes else sha256()


def read(log, path):
    """A file of the log, or None where there is none."""
    try:
        return (log / path).read_bytes()
    except FileNotFoundError:
        return None


def place(kind, index, width=WIDTH):
    groups, partial = f"{index % 1000:03}", "" if width == WIDTH else f".p/{width}"
    while index >= 1000:
        index //= 1000
        groups = f"x{index % 1000:03}/{groups}"
    return f"tile/{kind}/{groups}{partial}"


def load(log, kind, index, width):
    """A tile or bundle, its path, and how many it must hold; where a partial one was removed, the full one stands for it."""
    for held in (width, WIDTH):
        path = place(kind, index, held)
        data = read(log, path)
        if data is not None:
            return data, path, held
    raise ValueError(f"{place(kind, index, width)} is missing")


def spans(count):  # index and width of every tile of a level with so many hashes
    return [(start // WIDTH, min(WIDTH, count - start)) for start in range(0, count, WIDTH)]


def bundle_leaves(log, index, width):
    """The leaf hashes of a bundle's entries, each of which has its length before it."""
    (data, path, held), leaves, at = load(log, "entries", index, width), [], 0
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at:at + 2], "big")
        need(at + 2 <= len(data) and end <= len(data), f"{path} ends within an entry")
        leaves.append(sha256(b"\x00", data[at + 2:end]))
        at = end
    need(len(leaves) == held, f"{path} has {len(leaves)} entries")
    return leaves[:width]


def compare_tiles(log, hashes):
    """Compares the tiles that these leaf hashes need; how many they are."""
    level, compared = 0, 0
    while hashes:
        for index, width in spans(len(hashes)):
            data, path, held = load(log, level, index, width)
            wanted = b"".join(hashes[index * WIDTH:index * WIDTH + width])
            need(len(data) == held * HASH and data.startswith(wanted), f"{path} does not match the entries")
            compared += 1
        level, hashes = level + 1, [tree_hash(hashes[at:at + WIDTH]) for at in range(0, len(hashes) - WIDTH + 1, WIDTH)]
    return compared


def verify_log(log, origin, vkey, leaves_of=bundle_leaves):
    """The note, the root and all leaf hashes of a log that is whole, and how many tiles were compared."""
    note = read(log, "checkpoint")
    need(note is not None, "there is no checkpoint")
    size, root = open_checkpoint(note, origin, vkey)
    leaves = [leaf for index, width in spans(size) for leaf in leaves_of(log, index, width)]
    need(tree_hash(leaves) == root, f"the entries do not hash to the signed root {root.hex()}")
    return note, root, leaves, compare_tiles(log, leaves)


def main(folder, origin, vkey, *witnesses):
    try:
        note, root, leaves, tiles = verify_log(Path(folder), origin, vkey)
        for witness in witnesses:
            need(verify_note(note, witness, COSIGNATURE)[1], f"`{witness}` did not cosign")
    except (ValueError, OSError) as error:
        sys.exit(f"not whole: {error}")
    print(f"whole: {len(leaves)} entries, {tiles} tiles, root {base64.b64encode(root).decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 3 else sys.exit(__doc__)
