//! From what the files say to what is desired. Each text is parsed where its place is known, and no error hides another.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::PathBuf;

use marque_core::identity::{Kind, Lifecycle};
use marque_core::node::NodeName;
use marque_core::resource::{Resource, ResourceId, ResourceKind, Risk, Sensitivity};
use marque_core::scope::{Grant, Scope};
use marque_engine::desired::IdentitySpec;

use super::ManifestError;
use super::entry::Entry;
use super::file::{RawFile, RawIdentity, RawResource, Text};
use super::selector::Possible;

/// A YAML file of a manifest.
pub(super) struct Source {
    /// Its path in the manifest directory.
    pub(super) file: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// What the YAML files say, and what is wrong with it.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) identities: Vec<IdentitySpec>,
    pub(super) resources: Vec<Resource>,
    pub(super) errors: Vec<ManifestError>,
    /// Where the state of each identity stands, by the identity's name.
    pub(super) states: BTreeMap<String, ManifestError>,
    /// Where each name was first used.
    names: BTreeMap<String, String>,
}

impl Reading {
    /// Reads `sources`, which are all the files there are when it is `complete`.
    pub(super) fn of(sources: &[Source], mut complete: bool) -> Self {
        let mut reading = Self::default();
        let mut files = Vec::new();
        for Source { file, text } in sources {
            match RawFile::parse(file, text) {
                Ok(raw) => files.push((file.as_path(), raw)),
                Err(error) => {
                    complete = false;
                    reading.errors.push(error);
                }
            }
        }
        let ids = files.iter().flat_map(|(_, raw)| raw.resources.iter().flatten()).filter_map(|raw| raw.value.id.as_ref());
        let declared: BTreeSet<ResourceId> = ids.filter_map(|id| id.value.parse().ok()).collect();
        // What a file that could not be read declares is not known, so nothing is called undeclared then.
        let declared = complete.then_some(&declared);

        for (file, raw) in &files {
            for (index, raw) in raw.identities.iter().flatten().enumerate() {
                let mut entry = Entry::new(file, format!("identities[{index}]"), raw.referenced);
                let identity = entry.identity(&raw.value);
                if let Some(name) = &raw.value.name {
                    reading.declare(&mut entry, "name", format!("identity:{}", name.value), name);
                    let at = raw.value.state.as_ref().unwrap_or(name).referenced;
                    reading.states.insert(name.value.clone(), entry.place(at, "state"));
                }
                reading.identities.extend(identity);
                reading.errors.append(&mut entry.errors);
            }
            for (index, raw) in raw.resources.iter().flatten().enumerate() {
                let mut entry = Entry::new(file, format!("resources[{index}]"), raw.referenced);
                let resource = entry.resource(&raw.value, declared);
                if let Some(id) = &raw.value.id {
                    reading.declare(&mut entry, "id", id.value.clone(), id);
                }
                reading.resources.extend(resource);
                reading.errors.append(&mut entry.errors);
            }
        }
        reading.spread();
        reading
    }

    fn declare(&mut self, entry: &mut Entry<'_>, field: &str, name: String, text: &Text) {
        let at = text.referenced;
        match self.names.entry(name) {
            btree_map::Entry::Occupied(first) => {
                let expected = format!("a name that is used once, found `{}` at {} already", text.value, first.get());
                entry.wrong(at, field, &expected);
            }
            btree_map::Entry::Vacant(free) => {
                free.insert(format!("{}:{}:{}", entry.file.display(), at.line(), at.column()));
            }
        }
    }

    /// What touches data is at least as sensitive as the data. Datasets touch nothing, so that one step is enough.
    fn spread(&mut self) {
        let data = self.resources.iter().map(|r| (r.id.clone(), (r.sensitivity, r.personal)));
        let data: BTreeMap<ResourceId, (Sensitivity, bool)> = data.collect();
        for Resource { touches, sensitivity, personal, .. } in &mut self.resources {
            for (touched, is_personal) in touches.iter().filter_map(|id| data.get(id)) {
                *sensitivity = (*sensitivity).max(*touched);
                *personal |= *is_personal;
            }
        }
    }
}

impl Entry<'_> {
    fn identity(&mut self, raw: &RawIdentity) -> Option<IdentitySpec> {
        let at = self.at;
        let name = self.checked(at, "name", raw.name.as_ref(), "a path as `agent/researcher`", |name| {
            ResourceId::new(ResourceKind::Identity, name).is_ok()
        });
        let kind = self.required(at, "kind", raw.kind.as_ref()).and_then(|text| self.word("kind", text, &KINDS));
        let owner = self.required(at, "owner", raw.owner.as_ref()).and_then(|text| self.parse("owner", text));
        let hint = raw.hint.as_ref().and_then(|text| self.prose("hint", text, 1, 1024));
        let purpose = self.required(at, "purpose", raw.purpose.as_ref()).and_then(|text| self.prose("purpose", text, 1, 500));
        let selectors: Vec<Possible> = self.list("selectors", raw.selectors.as_deref());
        let nodes: Vec<NodeName> = self.list("nodes", raw.nodes.as_deref());
        let ceiling: Vec<Grant> = self.list("ceiling", raw.ceiling.as_deref());
        let state = raw.state.as_ref().and_then(|text| self.word("state", text, &STATES));
        Some(IdentitySpec {
            name: name?,
            kind: kind?,
            owner: owner?,
            purpose: purpose?,
            selectors: selectors.into_iter().map(|Possible(selector)| selector).collect(),
            hint,
            nodes: nodes.into_iter().collect(),
            ceiling: Scope::new(ceiling),
            state: state.unwrap_or(Lifecycle::Active),
        })
    }

    fn resource(&mut self, raw: &RawResource, declared: Option<&BTreeSet<ResourceId>>) -> Option<Resource> {
        let at = self.at;
        let id = self.required(at, "id", raw.id.as_ref()).and_then(|text| self.resource_id(text));
        let kind = id.as_ref().map(ResourceId::kind);
        let description = raw.description.as_ref().and_then(|text| self.prose("description", text, 0, 2_000));
        let owner = raw.owner.as_ref().and_then(|text| self.parse("owner", text));
        let sensitivity: Option<Sensitivity> = raw.sensitivity.as_ref().and_then(|text| self.parse("sensitivity", text));
        let personal = raw.personal.as_ref().and_then(|text| self.word("personal", text, &FLAGS));
        let risk = raw.risk.as_ref().and_then(|text| self.word("risk", text, &RISKS));
        let egress = raw.egress.as_ref().and_then(|text| self.word("egress", text, &FLAGS));
        let touches = self.touches(kind, raw.touches.as_deref().unwrap_or_default(), declared);
        if let Some(upstream) = &raw.upstream
            && kind.is_some_and(|kind| kind != ResourceKind::Service)
        {
            self.wrong(upstream.referenced, "upstream", "`upstream` on a service only, found it on another kind");
        }
        let upstream = raw.upstream.as_ref().and_then(|raw| self.upstream(raw));
        Some(Resource {
            id: id?,
            description: description.unwrap_or_default(),
            sensitivity: sensitivity.unwrap_or_default(),
            personal: personal.unwrap_or_default(),
            risk,
            egress: egress.unwrap_or_default(),
            touches,
            owner,
            upstream,
            definition: None,
        })
    }

    fn resource_id(&mut self, text: &Text) -> Option<ResourceId> {
        let id: ResourceId = self.parse("id", text)?;
        let expected = match id.kind() {
            ResourceKind::Tool if !id.name().contains('/') => "a tool as `tool:service/name`",
            ResourceKind::Identity => "a resource (an identity stands under `identities`)",
            _ => return Some(id),
        };
        self.refuse(text.referenced, "id", expected, &text.value);
        None
    }

    fn touches(
        &mut self,
        kind: Option<ResourceKind>,
        texts: &[Text],
        declared: Option<&BTreeSet<ResourceId>>,
    ) -> BTreeSet<ResourceId> {
        let mut touches = BTreeSet::new();
        for (index, text) in texts.iter().enumerate() {
            let field = format!("touches[{index}]");
            let Some(id) = self.parse::<ResourceId>(&field, text) else { continue };
            if kind == Some(ResourceKind::Dataset) {
                self.refuse(text.referenced, &field, "nothing that a dataset touches", &text.value);
            } else if id.kind() != ResourceKind::Dataset {
                self.refuse(text.referenced, &field, "a dataset as `dataset:customers`", &text.value);
            } else if declared.is_some_and(|declared| !declared.contains(&id)) {
                self.refuse(text.referenced, &field, "a dataset that is declared under `resources`", &text.value);
            } else {
                touches.insert(id);
            }
        }
        touches
    }
}

const KINDS: [(&str, Kind); 5] = [
    (Kind::Agent.as_str(), Kind::Agent),
    (Kind::Model.as_str(), Kind::Model),
    (Kind::PipelineStep.as_str(), Kind::PipelineStep),
    (Kind::Service.as_str(), Kind::Service),
    (Kind::Connector.as_str(), Kind::Connector),
];

/// The states that a manifest can ask for. Which of them an identity can take, the engine knows.
const STATES: [(&str, Lifecycle); 4] = [
    (Lifecycle::Proposed.as_str(), Lifecycle::Proposed),
    (Lifecycle::Active.as_str(), Lifecycle::Active),
    (Lifecycle::Suspended.as_str(), Lifecycle::Suspended),
    (Lifecycle::Retired.as_str(), Lifecycle::Retired),
];

const RISKS: [(&str, Risk); 3] = [("low", Risk::Low), ("medium", Risk::Medium), ("high", Risk::High)];

const FLAGS: [(&str, bool); 2] = [("true", true), ("false", false)];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(&str, &str)]) -> Reading {
        let source = |(file, text): &(&str, &str)| Source { file: PathBuf::from(file), text: (*text).to_owned() };
        Reading::of(&files.iter().map(source).collect::<Vec<_>>(), true)
    }

    fn errors(text: &str) -> Vec<String> {
        read(&[("a.yaml", text)]).errors.iter().map(ToString::to_string).collect()
    }

    const IDENTITY: &str = "identities:
  - name: agent/a
    kind: agent
    owner: alice@example.com
    purpose: Looks things up
";

    #[test]
    fn an_identity_is_active_and_holds_nothing_unless_it_says_so() {
        let reading = read(&[("a.yaml", IDENTITY)]);
        assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        let identity = &reading.identities[0];
        assert_eq!((identity.name.as_str(), identity.kind, identity.state), ("agent/a", Kind::Agent, Lifecycle::Active));
        assert_eq!(identity.owner.to_string(), "user:alice@example.com");
        assert!(identity.selectors.is_empty() && identity.ceiling.is_empty());
    }

    #[test]
    fn an_identity_may_be_in_any_state_of_its_life() {
        for state in [Lifecycle::Proposed, Lifecycle::Active, Lifecycle::Suspended, Lifecycle::Retired] {
            let reading = read(&[("a.yaml", &format!("{IDENTITY}    state: {state}\n"))]);
            assert!(reading.errors.is_empty(), "{:?}", reading.errors);
            assert_eq!(reading.identities[0].state, state);
            let place = &reading.states["agent/a"];
            assert_eq!((place.line, place.column, place.field.as_str()), (Some(6), Some(12), "identities[0].state"));
        }
        let unsaid = read(&[("a.yaml", IDENTITY)]);
        assert_eq!(unsaid.states["agent/a"].line, Some(2), "where it is not written, its name is the place");
    }

    #[test]
    fn every_wrong_field_of_an_identity_is_found() {
        let text = "identities:
  - name: /agent/a
    kind: robot
    owner: alice smith
    purpose: ''
    selectors: ['unix:uid:1000', uid]
    ceiling:
      - invoke:tool:crm/*
      - fly:tool:crm/*
      - invoke:crm
    state: gone
  - kind: agent
";
        let expected = [
            "a.yaml:2:11: identities[0].name: expected a path as `agent/researcher`, found `/agent/a`",
            "a.yaml:3:11: identities[0].kind: expected one of agent, model, pipeline-step, service, connector, found `robot`",
            "a.yaml:4:12: identities[0].owner: expected a person, as `alice@example.com`, found `alice smith`",
            "a.yaml:5:14: identities[0].purpose: expected 1 to 500 characters, found 0",
            "a.yaml:6:34: identities[0].selectors[1]: expected a selector as `unix:uid:1000`, found `uid`",
            "a.yaml:9:9: identities[0].ceiling[1]: expected an action: read, write, export, invoke, infer, retrain, publish, \
             delegate, issue, found `fly`",
            "a.yaml:10:9: identities[0].ceiling[2]: expected a resource or a prefix as `tool:crm/*`, found `crm`",
            "a.yaml:11:12: identities[0].state: expected one of proposed, active, suspended, retired, found `gone`",
            "a.yaml:12:5: identities[1].name: expected a value, found none",
            "a.yaml:12:5: identities[1].owner: expected a value, found none",
            "a.yaml:12:5: identities[1].purpose: expected a value, found none",
        ];
        assert_eq!(errors(text), expected);
        let long = IDENTITY.replace("Looks things up", &"x".repeat(501));
        assert_eq!(errors(&long), ["a.yaml:5:14: identities[0].purpose: expected 1 to 500 characters, found 501"]);
    }

    #[test]
    fn every_wrong_field_of_a_resource_is_found() {
        let text = "resources:
  - id: dataset:a b
  - id: dataset:a
    sensitivity: secret
    personal: maybe
    touches: [dataset:a]
    upstream: { http: { url: 'http://h/' } }
  - id: tool:find
  - id: tool:crm/find
    risk: none
    owner: '?'
    touches: [dataset:b, tool:crm/find, x]
  - id: identity:agent/a
  - description: nameless
";
        let expected = [
            "a.yaml:2:9: resources[0].id: expected a resource as `tool:crm/find_customer`, found `dataset:a b`",
            "a.yaml:4:18: resources[1].sensitivity: expected public, internal, confidential or restricted, found `secret`",
            "a.yaml:5:15: resources[1].personal: expected one of true, false, found `maybe`",
            "a.yaml:6:15: resources[1].touches[0]: expected nothing that a dataset touches, found `dataset:a`",
            "a.yaml:7:15: resources[1].upstream: expected `upstream` on a service only, found it on another kind",
            "a.yaml:8:9: resources[2].id: expected a tool as `tool:service/name`, found `tool:find`",
            "a.yaml:11:12: resources[3].owner: expected a person, as `alice@example.com`, found `?`",
            "a.yaml:10:11: resources[3].risk: expected one of low, medium, high, found `none`",
            "a.yaml:12:15: resources[3].touches[0]: expected a dataset that is declared under `resources`, found `dataset:b`",
            "a.yaml:12:26: resources[3].touches[1]: expected a dataset as `dataset:customers`, found `tool:crm/find`",
            "a.yaml:12:41: resources[3].touches[2]: expected a resource as `tool:crm/find_customer`, found `x`",
            "a.yaml:13:9: resources[4].id: expected a resource (an identity stands under `identities`), found `identity:agent/a`",
            "a.yaml:14:5: resources[5].id: expected a value, found none",
        ];
        assert_eq!(errors(text), expected);
    }

    #[test]
    fn a_name_used_twice_names_both_places() {
        let files =
            [("a.yaml", IDENTITY), ("b.yaml", IDENTITY), ("c.yaml", "resources: [{ id: dataset:a }, { id: dataset:a }]\n")];
        let errors: Vec<_> = read(&files).errors.iter().map(ToString::to_string).collect();
        let expected = [
            "b.yaml:2:11: identities[0].name: expected a name that is used once, found `agent/a` at a.yaml:2:11 already",
            "c.yaml:1:38: resources[1].id: expected a name that is used once, found `dataset:a` at c.yaml:1:19 already",
        ];
        assert_eq!(errors, expected);
    }

    #[test]
    fn what_touches_data_is_as_sensitive_as_the_data() {
        let tool = "resources: [{ id: 'tool:x/y', sensitivity: internal, touches: [dataset:a, dataset:b] }]\n";
        let data = "resources: [{ id: dataset:a, sensitivity: restricted }, { id: dataset:b, personal: true }]\n";
        let reading = read(&[("a.yaml", tool), ("b.yaml", data)]);
        assert!(reading.errors.is_empty(), "{:?}", reading.errors);
        let facts = |r: &Resource| (r.sensitivity, r.personal);
        assert_eq!(facts(&reading.resources[0]), (Sensitivity::Restricted, true));
        assert_eq!(facts(&reading.resources[2]), (Sensitivity::Public, true));
    }

    #[test]
    fn a_file_that_cannot_be_read_hides_nothing_in_the_others() {
        let files =
            [("a.yaml", "resources: {}\n"), ("b.yaml", "resources: [{ id: 'tool:x/y', touches: [dataset:a], risk: 1 }]\n")];
        let errors: Vec<_> = read(&files).errors.iter().map(ToString::to_string).collect();
        let expected = [
            "a.yaml:1:12: expected a list, found something else",
            "b.yaml:1:59: resources[0].risk: expected one of low, medium, high, found `1`",
        ];
        assert_eq!(errors, expected, "and `dataset:a` may be declared in the file that could not be read");
    }
}
