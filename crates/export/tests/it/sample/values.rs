//! The values that samples are made of.

use super::*;

pub fn identity() -> Identity {
    Identity {
        id: agent(),
        kind: Kind::Agent,
        owner: Some(alice()),
        purpose: "answers customers' letters".to_owned(),
        selectors: BTreeSet::from(["unix:uid:1000".parse().unwrap(), "unix:path:/usr/bin/agent".parse().unwrap()]),
        ceiling: scope(),
        hint: Some("letters".to_owned()),
        nodes: BTreeSet::from(["server".parse().unwrap(), "web-1".parse().unwrap()]),
        state: Lifecycle::Active,
        epoch: Epoch(3),
    }
}

pub fn resource() -> Resource {
    let variable = InjectedVariable { variable: "CRM_KEY".to_owned(), secret: "crm-key".to_owned() };
    Resource {
        id: tool(),
        description: "finds a customer".to_owned(),
        sensitivity: Sensitivity::Confidential,
        personal: true,
        risk: Some(Risk::High),
        egress: true,
        touches: BTreeSet::from(["dataset:crm".parse().unwrap()]),
        owner: Some(alice()),
        upstream: Some(Upstream::Stdio {
            command: "crm-server".to_owned(),
            args: vec!["--quiet".to_owned()],
            secrets: vec![variable],
        }),
        definition: Some(digest(2)),
    }
}

pub fn header(prefix: &str) -> InjectedHeader {
    InjectedHeader { header: "authorization".to_owned(), prefix: prefix.to_owned(), secret: "crm".to_owned() }
}

/// By a token of somebody else's issuer, and on another host: never both at once, but so one sample has every field.
pub fn attested() -> Instance {
    let token = Attestation { method: "oidc".to_owned(), pid: 0, started: 0, until: Some(at(900)), ..launched() };
    let attestation = Attestation { node: Some("web-1".parse().unwrap()), ..token };
    Instance { id: instance(), identity: agent(), attestation, task: Some(task_id()), since: at(0), epoch: Epoch(3) }
}

pub fn launched() -> Attestation {
    let mut selectors = identity().selectors;
    selectors.insert(format!("launched:argv_sha256:{}", "0f".repeat(32)).parse().unwrap());
    Attestation { method: "launched".to_owned(), pid: 4321, started: 987_654, selectors, until: None, node: None }
}

pub fn task() -> Task {
    Task {
        id: task_id(),
        parent: Some(parent_id()),
        lineage: vec![parent_id()],
        actor: agent(),
        principal: alice(),
        purpose: "the weekly report".to_owned(),
        scope: scope(),
        started: at(1),
        expires: at(3600),
        depth: 1,
        budget: Budget { calls: Some(20) },
        elevation: Some(elevation_id()),
        epoch: Epoch(3),
    }
}

pub fn lease() -> Lease {
    Lease {
        id: lease_id(),
        class: CredentialClass::TaskToken,
        identity: agent(),
        instance: instance(),
        holder: Some(instance()),
        task: Some(task_id()),
        scope: scope(),
        issued: at(2),
        expires: at(302),
        handle: "b6f1".to_owned(),
        binding: Some("bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2".to_owned()),
        epoch: Epoch(3),
    }
}

/// A decision that carries everything.
pub fn decided() -> Decided {
    Decided {
        record: record(),
        identity: agent(),
        instance: instance(),
        lease: lease_id(),
        task: task_id(),
        principal: alice(),
        action: Action::Invoke,
        resource: tool(),
        sensitivity: Sensitivity::Confidential,
        protocol: "mcp tools/call".to_owned(),
        effect: Effect::Allow,
        reasons: vec![reason()],
        policy: digest(3),
        request: Committed::Open(digest(5)),
        arguments: Committed::Open(digest(6)),
        intent: "the weekly report".to_owned(),
        posture: Posture { method: "launched".to_owned(), age: 40 },
        consent: Consent::Approved,
        obligations: vec!["record-outcome".to_owned()],
        correlation: Some(TRACEPARENT.to_owned()),
        causes: vec![RecordId::from_bytes(ulid(30))],
        contents: vec![content()],
        elevation: Some(elevation_id()),
    }
}

pub fn reason() -> Reason {
    Reason {
        policy: "office-hours".to_owned(),
        text: "agents may read = during | office hours".to_owned(),
        at: Some("office.cedar:12".to_owned()),
    }
}

pub fn content() -> Content {
    Content {
        at: "/params/arguments/text".to_owned(),
        exact: Committed::Open(digest(7)),
        normalised: Committed::Open(digest(8)),
        prints: Prints::new(vec![1, u64::MAX]),
        bytes: 512,
    }
}

pub fn elevation(status: Status) -> Elevation {
    let call = Call {
        identity: agent(),
        task: task_id(),
        action: Action::Export,
        resource: tool(),
        sensitivity: Sensitivity::Restricted,
        arguments: Committed::Open(digest(6)),
        definition: Some(digest(2)),
    };
    Elevation {
        id: elevation_id(),
        call,
        instance: instance(),
        needs: Needs { elevations: vec!["personal-data-out".to_owned()], approvals: 2, ttl: Ttl::from_minutes(15) },
        reasons: vec![reason()],
        sight: "{\"name\": \"Ada\"}".to_owned(),
        barred: BTreeSet::from([alice()]),
        votes: BTreeSet::from([bob()]),
        requested: at(3),
        decide_by: at(3603),
        status,
        epoch: Epoch(3),
    }
}

/// A model file and what it was made from.
pub fn artifact() -> Artifact {
    Artifact {
        name: "model.safetensors".to_owned(),
        content: Committed::Open(digest(11)),
        bytes: 1_048_576,
        identity: agent(),
        task: task_id(),
        instance: Some(instance()),
        inputs: vec![Committed::Open(digest(12)), Committed::Closed(Commitment::from_bytes([13; 32]))],
    }
}

pub fn scope() -> Scope {
    "invoke,read:tool:crm/*;sensitivity=confidential read:dataset:crm".parse().unwrap()
}

pub fn agent() -> marque_core::spiffe::SpiffeId {
    "spiffe://example.org/agent/letters".parse().unwrap()
}

pub fn tool() -> marque_core::resource::ResourceId {
    "tool:crm/find_customer".parse().unwrap()
}

pub fn alice() -> PersonId {
    "alice@example.com".parse().unwrap()
}

pub fn bob() -> PersonId {
    "bob".parse().unwrap()
}

pub fn digest(byte: u8) -> Digest {
    Digest::from_bytes([byte; 32])
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_790_000_000 + seconds)
}

pub fn ulid(byte: u8) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&[1, 154, 0, 0, 0, 0]);
    bytes[15] = byte;
    bytes
}

pub fn task_id() -> TaskId {
    TaskId::from_bytes(ulid(20))
}

pub fn parent_id() -> TaskId {
    TaskId::from_bytes(ulid(21))
}

pub fn instance() -> InstanceId {
    InstanceId::from_bytes(ulid(22))
}

pub fn lease_id() -> LeaseId {
    LeaseId::from_bytes(ulid(23))
}

pub fn elevation_id() -> ElevationId {
    ElevationId::from_bytes(ulid(24))
}

pub fn record() -> RecordId {
    RecordId::from_bytes(ulid(25))
}
