#!/usr/bin/env python3
"""Verifies a COSE receipt of inclusion (RFC 9942, RFC9162_SHA256) with the package `scitt-cose`.

The log's key is its verifier key (C2SP signed-note): the receipt must be signed by the same Ed25519 key, and name no
other issuer or key. With a checkpoint, the receipt's root must be the one that the log signed there too. It prints one
JSON line {"client", "version", "ok", "seen", "size", "root"} and exits 0 or 1 (2: usage). With --expect-fault, the receipt is
broken, and that must be found.

    scitt_receipt.py [--expect-fault] RECEIPT ENTRY VKEY [CHECKPOINT]
"""

import base64
import json
import sys
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from scitt_cose.receipt import HDR_KID, verify_receipt

PACKAGE = "scitt-cose"


class Broken(Exception):
    """The receipt does not hold."""


def need(holds, what):
    if not holds:
        raise Broken(what)


def open_vkey(vkey):
    """`name+hex(key id)+base64(type, key)`: the name, the id, and the key as PEM."""
    name, key_id, typed = vkey.split("+", 2)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(typed, validate=True)[1:])
    return name, bytes.fromhex(key_id), key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def verify(receipt, entry, key):
    return verify_receipt(receipt, leaf_entry_hex=entry.hex(), log_public_key_pem=key)


def head(checkpoint):
    """Size and root of a checkpoint; its signature is for others to judge."""
    _, size, root = checkpoint.split("\n")[:3]
    return int(size), base64.b64decode(root, validate=True).hex()


def judge(receipt, entry, vkey, checkpoint=None):
    name, key_id, key = open_vkey(vkey)
    held = verify(receipt, entry, key)
    need(held.ok, "; ".join(held.errors))
    need(held.issuer in (None, name), f"the receipt is by `{held.issuer}`")
    need(held.protected_header_ext.get(HDR_KID, key_id) == key_id, "the receipt names another key")
    need(not verify(receipt, entry + b" ", key).ok, "the receipt holds for another entry")
    need(not verify(receipt[:-1] + bytes([receipt[-1] ^ 1]), entry, key).ok, "the receipt holds with another signature")
    seen = f"entry {held.leaf_index} of {held.tree_size} is in the tree {held.root}"
    named = [f"{what} {value}" for what, value in [("issuer", held.issuer), ("subject", held.subject)] if value]
    if checkpoint:
        size, root = head(checkpoint)
        need(size == held.tree_size, f"the checkpoint is of {size} entries, the receipt of {held.tree_size}")
        need(root == held.root, "the checkpoint has another root")
        named.append("the checkpoint has the same root")
    return ", ".join([seen, *named]), {"size": held.tree_size, "root": base64.b64encode(bytes.fromhex(held.root)).decode()}


def main():
    args = [arg for arg in sys.argv[1:] if arg != "--expect-fault"]
    if len(args) not in (3, 4):
        print(__doc__, file=sys.stderr)
        return 2
    expect = len(args) < len(sys.argv) - 1
    receipt, entry = Path(args[0]).read_bytes(), Path(args[1]).read_bytes()
    checkpoint = Path(args[3]).read_text("utf-8") if len(args) == 4 else None
    tree = {}
    try:
        ok, (seen, tree) = not expect, judge(receipt, entry, args[2].strip(), checkpoint)
        seen = f"no fault was found: {seen}" if expect else seen
    except (Broken, ValueError, IndexError) as error:
        ok, seen = expect, str(error)
    line = {"client": PACKAGE, "version": version(PACKAGE), "ok": ok, "seen": seen, **tree}
    print(json.dumps(line, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
