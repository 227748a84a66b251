"""Readers of what Marque says of one file: its lineage as PROV-JSON, and statements in a DSSE envelope."""

import base64
import hashlib
import json
import re
from pathlib import Path

from export_common import Broken, need, refused

# PROV

def lineage(text):
    """How many activities lead to how many people, in a document where everything that is named is there."""
    from prov.model import PROV, ProvActivity, ProvAgent, ProvDelegation, ProvDocument, ProvElement, ProvRelation

    document = ProvDocument.deserialize(content=text, format="json")
    elements = {str(element.identifier) for element in document.get_records(ProvElement)}
    relations = list(document.get_records(ProvRelation))
    for relation in relations:
        for _, value in relation.formal_attributes[:2]:
            need(value is None or str(value) in elements, f"{relation} names what is not there")
    people = {str(agent.identifier) for agent in document.get_records(ProvAgent) if PROV["Person"] in agent.get_asserted_types()}
    links = [tuple(str(value) for _, value in link.formal_attributes[:2]) for link in document.get_records(ProvDelegation)]
    for association in (one for one in relations if one.get_type() == PROV["Association"]):
        reached, agents = set(), [str(association.formal_attributes[1][1])]
        while agents:
            agent = agents.pop()
            reached.add(agent)
            agents += [to for start, to in links if start == agent and to not in reached]
        need(reached & people, f"{association} leads to no person")
    again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    need(again == document, "the document is not the same when it is read again")
    activities = len(list(document.get_records(ProvActivity)))
    need(activities and people, "nothing was done, or by nobody")
    return f"{len(elements)} elements and {len(relations)} relations; {activities} activities lead to {len(people)} people"


def prov(_, path):
    text = Path(path).read_text(encoding="utf-8")
    seen = lineage(text)
    for part in ("actedOnBehalfOf", "agent", "activity"):
        less = {name: value for name, value in json.loads(text).items() if name != part}
        refused(f"a document without `{part}`", lambda: lineage(json.dumps(less)), Broken)
    return seen


# DSSE and in-toto

def signer(key):
    """An Ed25519 key, and its name where it has one."""
    from securesystemslib.signer import SSlibKey

    *names, last = key.split("+", 2)
    public = base64.b64decode(last, validate=True)[1:].hex() if names else last
    return "+".join(names), lambda keyid: SSlibKey(keyid, "ed25519", "ed25519", {"public": public})


def signed(envelope, key):
    from securesystemslib.exceptions import VerificationError

    [keyid], (name, make) = envelope.signatures, signer(key)
    need(name in ("", keyid), f"the envelope is signed by {keyid}, not by {name}")
    envelope.verify([make(keyid)], 1)
    envelope.payload += b" "
    refused("a changed payload", lambda: envelope.verify([make(keyid)], 1), VerificationError)
    envelope.payload = envelope.payload[:-1]
    return f"a good signature of {keyid}"


def dsse(_, path, key=None, file=None):
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope

    envelope = Envelope.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    need(envelope.payload_type == "application/vnd.in-toto+json", f"the payload is {envelope.payload_type}")
    need(envelope.signatures, "nobody signed")
    by = signed(envelope, key) if key else "a signature that was not checked"
    message = json_format.Parse(envelope.payload, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    for subject in message.subject:
        need(re.fullmatch("[0-9a-f]{64}", subject.digest["sha256"]), "the subject's digest is not SHA-256")
        own = hashlib.sha256(Path(file).read_bytes()).hexdigest() if file else subject.digest["sha256"]
        need(own == subject.digest["sha256"], f"what is stated is of another file than {file}")
    if message.predicate_type == "https://slsa.dev/provenance/v1":
        from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance

        json_format.ParseDict(json_format.MessageToDict(message.predicate), Provenance())
    names = ", ".join(subject.name for subject in message.subject)
    return f"{message.predicate_type} of {names}, with {by}"
