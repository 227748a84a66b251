//! Lineage as W3C PROV: the PROV-JSON serialisation (W3C member submission of 24 April 2013) of PROV-DM.
//!
//! A file and the texts in it are entities, actions are activities, copies of identities, identities and people are agents,
//! tasks are plans. Of an attested file the work in its task is an activity too, under a name of its own: a plan is an entity,
//! which no activity can be. `actedOnBehalfOf` leads from the copy to its identity and along the tasks to the person.

use std::collections::BTreeMap;

use marque_core::id::InstanceId;
use marque_core::spiffe::SpiffeId;
use marque_core::{Committed, PersonId};
use serde_json::{Map, Value, json};

use crate::Source;
use crate::chain::{Input, Lineage, Made, Output, Step, TaskStep};
use crate::facts::rfc3339;
use crate::object::Put;

/// The media type.
pub const CONTENT_TYPE: &str = "application/json";

/// The lineage as a PROV-JSON document.
pub fn document(source: &Source<'_>, lineage: &Lineage) -> Value {
    let mut document = Document::new(source);
    let file = document.entity(&lineage.file.digest, json!({ "prov:type": name("marque:File") }));
    if let Some(label) = &lineage.file.name {
        document.describe("entity", &file, "prov:label", json!(label));
    }
    for step in &lineage.steps {
        document.step(&file, step);
    }
    for made in &lineage.made {
        document.made(&file, made);
    }
    document.finish()
}

/// A document that grows: each kind of element and relation by its identifier.
struct Document {
    prefix: Value,
    parts: BTreeMap<&'static str, Map<String, Value>>,
}

impl Document {
    fn new(source: &Source<'_>) -> Self {
        let prefix = json!({
            "marque": "https://marque.dev/ns#",
            "log": format!("https://{}#", source.origin),
            "user": format!("https://{}/user/", source.origin),
            // Followed by the rest, these are the names themselves.
            "spiffe": "spiffe://",
            "sha256": "urn:sha256:",
            "commit": "urn:marque:commit:",
        });
        Self { prefix, parts: BTreeMap::new() }
    }

    fn finish(self) -> Value {
        let mut out = Map::from_iter([("prefix".to_owned(), self.prefix)]);
        out.extend(self.parts.into_iter().map(|(part, elements)| (part.to_owned(), Value::Object(elements))));
        Value::Object(out)
    }

    fn step(&mut self, file: &str, step: &Step) {
        let activity = self.activity(step);
        let agent = self.agents(Some(step.instance), &step.identity, &step.tasks, &activity);
        self.associated(&activity, &agent, step.tasks.first());
        let inputs: Vec<String> = step.inputs.iter().filter_map(|input| self.input(&activity, input)).collect();
        for output in &step.outputs {
            self.output(file, step, &activity, &agent, output, &inputs);
        }
    }

    /// A file that was made in a task, and what from.
    fn made(&mut self, file: &str, made: &Made) {
        let activity = format!("log:work-{}", made.task);
        let mut work = json!({ "prov:type": name("marque:Work"), "marque:task": made.task });
        if let Some(own) = made.tasks.first() {
            work.put("marque:purpose", json!(own.purpose));
        }
        self.put("activity", &activity, work);
        let agent = self.agents(made.instance, &made.identity, &made.tasks, &activity);
        self.associated(&activity, &agent, made.tasks.first());
        let entity = self.entity(&made.file.digest, json!({ "prov:type": name("marque:File") }));
        if let Some(label) = &made.file.name {
            self.describe("entity", &entity, "prov:label", json!(label));
        }
        let index = json!({ "$": made.index.to_string(), "type": "xsd:unsignedLong" });
        let mut generated = json!({ "prov:entity": entity, "prov:activity": activity, "marque:index": index });
        // When it was made nobody said, only when somebody vouched for it.
        if let Some(attested) = rfc3339(made.attested) {
            generated.put("marque:attested", json!(attested));
        }
        if let Some(by) = &made.attested_by {
            generated.put("marque:attestedBy", json!(by));
        }
        self.relate("wasGeneratedBy", generated);
        self.relate("wasAttributedTo", json!({ "prov:entity": entity, "prov:agent": agent }));
        for input in &made.inputs {
            let input = self.entity(input, json!({}));
            self.relate("used", json!({ "prov:activity": activity, "prov:entity": input }));
            self.derived(&entity, &input, &activity);
        }
        for output in &made.outputs {
            self.part(file, &entity, output);
        }
    }

    fn associated(&mut self, activity: &str, agent: &str, own: Option<&TaskStep>) {
        let mut association = json!({ "prov:activity": activity, "prov:agent": agent });
        if let Some(own) = own {
            association.put("prov:plan", json!(self.plan(own)));
        }
        self.relate("wasAssociatedWith", association);
    }

    fn activity(&mut self, step: &Step) -> String {
        let id = format!("log:{}", step.record);
        let mut activity = json!({
            "prov:type": name("marque:Action"),
            "marque:action": step.action,
            "marque:resource": step.resource,
            "marque:effect": step.effect,
            "marque:index": { "$": step.index.to_string(), "type": "xsd:unsignedLong" },
        });
        if let Some(start) = rfc3339(step.decided) {
            activity.put("prov:startTime", json!(start));
        }
        if let Some(end) = step.settled.and_then(rfc3339) {
            activity.put("prov:endTime", json!(end));
        }
        self.put("activity", &id, activity);
        id
    }

    /// The chain of responsibility to the person who asked, from the running copy, or where none is known from its identity;
    /// the identifier of whichever it is.
    fn agents(&mut self, copy: Option<InstanceId>, identity: &SpiffeId, tasks: &[TaskStep], activity: &str) -> String {
        let mut delegate = self.identity(identity);
        let mut first = delegate.clone();
        if let Some(copy) = copy {
            first = format!("log:{copy}");
            self.put("agent", &first, json!({ "prov:type": name("prov:SoftwareAgent") }));
            self.delegated(activity, &first, &delegate);
        }
        for task in tasks {
            let actor = self.identity(&task.actor);
            self.delegated(activity, &delegate, &actor);
            self.plan(task);
            delegate = actor;
        }
        // An approved task is for its approver; those it hangs from are for whoever asked.
        let mut people: Vec<&PersonId> = tasks.iter().map(|task| &task.principal).collect();
        people.dedup();
        for who in people {
            let who = self.person(who);
            self.delegated(activity, &delegate, &who);
        }
        first
    }

    fn identity(&mut self, identity: &SpiffeId) -> String {
        let id = format!("spiffe:{}{}", identity.trust_domain(), identity.path());
        self.put("agent", &id, json!({ "prov:type": name("prov:SoftwareAgent"), "prov:label": identity.short() }));
        id
    }

    fn person(&mut self, person: &PersonId) -> String {
        let id = person.to_string();
        self.put("agent", &id, json!({ "prov:type": name("prov:Person") }));
        id
    }

    fn plan(&mut self, task: &TaskStep) -> String {
        let id = format!("log:{}", task.task);
        let mut plan = json!({ "prov:type": name("prov:Plan"), "marque:purpose": task.purpose });
        if let Some(elevation) = task.elevation {
            plan.put("marque:elevation", json!(elevation));
        }
        self.put("entity", &id, plan);
        id
    }

    fn delegated(&mut self, activity: &str, delegate: &str, responsible: &str) {
        if delegate != responsible {
            let link = json!({ "prov:delegate": delegate, "prov:responsible": responsible, "prov:activity": activity });
            self.relate("actedOnBehalfOf", link);
        }
    }

    fn input(&mut self, activity: &str, input: &Input) -> Option<String> {
        if let Some(cause) = input.cause {
            let id = format!("log:{cause}");
            self.put("activity", &id, json!({ "prov:type": name("marque:Action") }));
            self.relate("wasInformedBy", json!({ "prov:informed": activity, "prov:informant": id }));
        }
        let entity = self.entity(&input.digest?, json!({}));
        self.relate("used", json!({ "prov:activity": activity, "prov:entity": entity }));
        Some(entity)
    }

    fn output(&mut self, file: &str, step: &Step, activity: &str, agent: &str, output: &Output, inputs: &[String]) {
        let entity = self.entity(&output.digest, json!({}));
        let mut made = json!({ "prov:entity": entity, "prov:activity": activity });
        if let Some(time) = step.settled.or(Some(step.decided)).and_then(rfc3339) {
            made.put("prov:time", json!(time));
        }
        self.relate("wasGeneratedBy", made);
        self.relate("wasAttributedTo", json!({ "prov:entity": entity, "prov:agent": agent }));
        for input in inputs {
            self.derived(&entity, input, activity);
        }
        self.part(file, &entity, output);
    }

    fn derived(&mut self, entity: &str, input: &str, activity: &str) {
        if entity != input {
            let link = json!({ "prov:generatedEntity": entity, "prov:usedEntity": input, "prov:activity": activity });
            self.relate("wasDerivedFrom", link);
        }
    }

    /// Which lines of the traced file hold it, unless it is that file.
    fn part(&mut self, file: &str, entity: &str, output: &Output) {
        if let Some(lines) = output.lines.filter(|_| entity != file) {
            let mut link = json!({
                "prov:generatedEntity": file,
                "prov:usedEntity": entity,
                "marque:lines": format!("{}-{}", lines.first, lines.last),
            });
            if let Some(class) = &output.class {
                link.put("marque:class", json!(class));
            }
            self.relate("wasDerivedFrom", link);
        }
    }

    fn entity(&mut self, digest: &Committed, attributes: Value) -> String {
        let id = digest.to_string();
        self.put("entity", &id, attributes);
        id
    }

    /// An element; what is said of it in several places is said once.
    fn put(&mut self, part: &'static str, id: &str, attributes: Value) {
        let element = self.parts.entry(part).or_default().entry(id).or_insert_with(|| json!({}));
        if let (Some(element), Value::Object(attributes)) = (element.as_object_mut(), attributes) {
            attributes.into_iter().for_each(|(key, value)| {
                element.entry(key).or_insert(value);
            });
        }
    }

    fn describe(&mut self, part: &'static str, id: &str, key: &str, value: Value) {
        self.put(part, id, Value::Object(Map::from_iter([(key.to_owned(), value)])));
    }

    /// A relation, once.
    fn relate(&mut self, part: &'static str, relation: Value) {
        let relations = self.parts.entry(part).or_default();
        if !relations.values().any(|other| *other == relation) {
            let id = format!("_:{part}{}", relations.len() + 1);
            relations.insert(id, relation);
        }
    }
}

fn name(name: &str) -> Value {
    json!({ "$": name, "type": "prov:QUALIFIED_NAME" })
}
