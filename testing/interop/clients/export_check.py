#!/usr/bin/env python3
"""Readers that no one here wrote, on what Marque exports.

It imports nothing of Marque. It prints one JSON line {"client", "version", "ok", "seen"} and exits 0 or 1 (2: usage).

    export_check.py events      SCHEMA.json WHERE           jsonschema: every event against the event schema
    export_check.py ocsf        WHERE                       OCSF's own schema
    export_check.py cloudevents WHERE                       the CloudEvents SDK
    export_check.py otlp        WHERE                       OpenTelemetry's Protobuf messages
    export_check.py cef         WHERE                       cefp, and syslog-rfc5424-parser for what came by syslog
    export_check.py parquet     WHERE                       pyarrow and duckdb
    export_check.py prov        DOCUMENT.json               the prov package
    export_check.py dsse        ENVELOPE.json [KEY [FILE]]  securesystemslib and in-toto-attestation

WHERE is a file, or a folder of them. KEY is Ed25519: a verifier key (C2SP signed-note), or hex. FILE is what is stated about.
With `--log LEDGER` at the end, a folder in the form of C2SP tlog-tiles, the events must be all of that log's, each under its
index, leaf hash, identifier and kind. Every reader must also refuse a changed document: one that takes all proves nothing.
"""

import base64
import importlib.metadata
import json
import sys
from pathlib import Path

from export_common import Broken, Exported, documents, files, need, of_log, refused, valid
from export_lineage import dsse, prov
from export_ocsf import ocsf

# The event schema

def events(exported, schema_path, where):
    import jsonschema

    schema, kinds, count = Path(schema_path).read_text(encoding="utf-8"), set(), 0
    jsonschema.Draft202012Validator.check_schema(json.loads(schema))
    for count, one in enumerate(documents(where), 1):
        event = one.get("event", one)
        valid(schema, event, f"event {count}")
        kinds.add(event["what"]["kind"])
        if "index" in one:
            exported.take(one["index"], one["leaf"], event["id"], event["what"]["kind"], event)
    for changed in ({**event, "surprise": 1}, {**event, "what": {"kind": "surprise"}}, {**event, "ts": "now"}):
        refused("a changed event", lambda: valid(schema, changed, "it"), Broken)
    return f"{count} events of {len(kinds)} kinds are valid"


# CloudEvents

def cloud_event(one):
    from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

    headers = {"content-type": "application/cloudevents+json"}
    return from_structured_event(HTTPMessage(headers=headers, body=json.dumps(one).encode()))


def cloudevents(exported, where):
    from cloudevents.core.exceptions import CloudEventValidationError

    types, count = set(), 0
    for count, one in enumerate(documents(where), 1):
        event = cloud_event(one)
        data = event.get_data()
        kind = data["what"]["kind"]
        need(event.get_specversion() == "1.0", "an event is of another version")
        need(event.get_type() == f"dev.marque.{kind}", "an event's type is not its kind")
        need(event.get_time() is not None and event.get_source().startswith("https://"), "an event has no time or no source")
        exported.take(event.get_extension("sequence"), event.get_extension("leafhash"), event.get_id(), kind, data)
        types.add(event.get_type())
    for name in ("id", "type", "source"):
        refused(f"an event without `{name}`", lambda: cloud_event({**one, name: ""}), CloudEventValidationError)
    return f"{count} events of {len(types)} types were read"


# OpenTelemetry

def otlp_message(request):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    return json_format.ParseDict(request, ExportLogsServiceRequest())


def otlp_records(request):
    for resource in request["resourceLogs"]:
        for scope in resource["scopeLogs"]:
            yield from scope["logRecords"]


def identifiers(record):
    """Trace and span: OTLP writes them as hex, where the JSON of Protobuf has base64."""
    for name, size in (("traceId", 16), ("spanId", 8)):
        if name in record:
            identifier = bytes.fromhex(record[name])
            need(len(identifier) == size and any(identifier), f"{name} is not {size} bytes")
            record[name] = base64.b64encode(identifier).decode()
    return "traceId" in record


def otlp(exported, where):
    from google.protobuf import json_format

    count = traced = 0
    for request in documents(where):
        traced += sum(map(identifiers, otlp_records(request)))
        for resource in otlp_message(request).resource_logs:
            names = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
            need(names.get("service.name") == "marque", "the resource has no service.name")
            for record in (record for scope in resource.scope_logs for record in scope.log_records):
                need(record.time_unix_nano and record.severity_number and record.event_name, "a record lacks its time or name")
                values = {attribute.key: attribute.value for attribute in record.attributes}
                need(len(values) == len(record.attributes), "a record has an attribute twice")
                texts = {name: value.string_value for name, value in values.items()}
                kind, whole = record.event_name.removeprefix("marque."), json.loads(texts["marque.event.json"])
                index, leaf, identifier = values["marque.index"].int_value, texts["marque.leaf_hash"], texts["marque.event.id"]
                exported.take(index, leaf, identifier, kind, whole)
                count += 1
    for changed in ({**request, "surprise": 1}, {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "now"}]}]}]}):
        refused("a changed request", lambda: otlp_message(changed), json_format.ParseError)
    return f"{count} log records were read, {traced} of them in a trace"


# CEF

def cef_line(line):
    """A line of CEF; one that came by syslog is behind a header (RFC 5424)."""
    import cefp
    from syslog_rfc5424_parser import SyslogMessage

    if line.startswith("CEF:"):
        return cefp.parse(line)
    message = SyslogMessage.parse(line)
    need((message.facility.name, message.appname) == ("audit", "marque"), "a message is of another program")
    return cefp.parse(message.msg)


def cef(exported, where):
    from syslog_rfc5424_parser import ParseError

    kinds, count = set(), 0
    for line in (line for file in files(where) for line in file.read_text(encoding="utf-8").split("\n") if line):
        event = cef_line(line)
        values, device = event["extension"], event["device"]
        need((event["version"], device["vendor"]) == ("0", "Marque"), f"`{line}` is of another version or vendor")
        need(device["event_class_id"] == values["cat"] and 0 <= int(event["severity"]) <= 10, f"`{line}` has no kind or severity")
        need(values["cn1Label"] == "index" and values["flexString1Label"] == "leafHash", f"`{line}` has no place in the log")
        exported.take(values["cn1"], values["flexString1"], values["externalId"], values["cat"])
        kinds.add(values["cat"])
        count += 1
    refused("a line without its header", lambda: cef_line(line.replace("CEF:0|Marque", "CEF:0")), ValueError)
    refused("a message of no version", lambda: cef_line(f"<110> {line}"), ParseError)
    return f"{count} lines of {len(kinds)} kinds were read"


# Parquet

# What a row has as its event has it, where that is a text.
PARQUET_SAME = ("id", "by", "kind", "action", "resource", "effect", "identity", "instance", "task", "lease", "record")


def parquet_rows(exported, path):
    import duckdb
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(path)
    rows = table.to_pylist()
    for row, moment in zip(rows, table.column("ts").cast("int64").to_pylist()):
        event = json.loads(row["body"])
        for name, value in {**event["what"], "by": event["by"], "id": event["id"]}.items():
            told = name in PARQUET_SAME and isinstance(value, str)
            need(not told or row[name] == value, f"`{name}` is not that of its event")
        need(moment == event["ts"], "a time is not that of its event")
        exported.take(row["index"], row["leaf"].hex(), row["id"], row["kind"], event)
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    found = duckdb.sql(f"select {columns} from read_parquet('{path}')").fetchall()
    need(len(found) == len(rows), f"pyarrow reads {len(rows)} rows and duckdb {len(found)}")
    for row, other in zip(rows, found):
        for (name, value), again in zip(row.items(), other):
            if name not in ("ts", "body"):
                need(value == again, f"pyarrow and duckdb disagree on {name}: {value} and {again}")
    return rows


def parquet(exported, where):
    import duckdb
    import pyarrow

    tables = [str(file) for file in files(where)]
    rows = [row for path in tables for row in parquet_rows(exported, path)]
    # The question in docs/export.md. That rows are skipped by the least and most of their group shows in what is counted.
    question = "select person, identity, count(*) from read_parquet($files) where effect = 'deny' group by all order by 3 desc"
    denied = duckdb.sql(question, params={"files": tables}).fetchall()
    need(sum(row[2] for row in denied) == sum(row["effect"] == "deny" for row in rows), "a denial is not found")
    after = duckdb.sql("select count(*) from read_parquet($files) where index >= $index", params={"files": tables, "index": 7})
    need(after.fetchall() == [(sum(row["index"] >= 7 for row in rows),)], "an entry is not found by its index")
    cut = pyarrow.BufferReader(Path(tables[0]).read_bytes()[:-1])
    refused("a file without its last byte", lambda: pyarrow.parquet.read_table(cut), pyarrow.ArrowInvalid)
    return f"{len(rows)} rows of {len({row['kind'] for row in rows})} kinds; duckdb {duckdb.__version__} agrees"


# For each mode: what reads, the package whose version is said, how many arguments.
MODES = {
    "events": (events, "jsonschema", (2,)),
    "ocsf": (ocsf, "ocsf-json-schema", (1,)),
    "cloudevents": (cloudevents, "cloudevents", (1,)),
    "otlp": (otlp, "opentelemetry-proto", (1,)),
    "cef": (cef, "cefp", (1,)),
    "parquet": (parquet, "pyarrow", (1,)),
    "prov": (prov, "prov", (1,)),
    "dsse": (dsse, "in-toto-attestation", (1, 2, 3)),
}


def main(arguments):
    ledger = arguments[-1] if arguments[-2:-1] == ["--log"] else None
    mode, *rest = (arguments[:-2] if ledger else arguments) or [None]
    read, package, counts = MODES.get(mode, (None, None, ()))
    if len(rest) not in counts:
        print(__doc__, file=sys.stderr)
        return 2
    version, ok, exported = "none", False, Exported()
    try:
        version = importlib.metadata.version(package)
        seen = read(exported, *rest)
        seen, ok = seen + (of_log(ledger, exported) if ledger else ""), True
    except Exception as error:  # whatever a reader stumbles over is what it says of the file
        seen = f"{type(error).__name__}: {error}"
    print(json.dumps({"client": package, "version": version, "ok": ok, "seen": seen}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
