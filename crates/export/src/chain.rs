//! What a trace found, in plain values: whoever traces fills them in, and [`crate::prov`] and [`crate::intoto`] write them.

use marque_core::decision::Effect;
use marque_core::event::By;
use marque_core::id::{ElevationId, InstanceId, RecordId, TaskId};
use marque_core::resource::{Action, ResourceId};
use marque_core::spiffe::SpiffeId;
use marque_core::time::Timestamp;
use marque_core::{Committed, PersonId};

/// A file or text and the actions that it came from.
#[derive(Clone, Debug)]
pub struct Lineage {
    /// What was traced.
    pub file: File,
    /// The actions: those whose outputs it holds, and those upstream of them.
    pub steps: Vec<Step>,
    /// The files that somebody vouched for: those that it is or holds, and those upstream.
    pub made: Vec<Made>,
}

/// A file.
#[derive(Clone, Debug)]
pub struct File {
    /// Its name, for people.
    pub name: Option<String>,
    /// SHA-256 of its bytes.
    pub digest: Committed,
}

/// One credentialed action.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its record.
    pub record: RecordId,
    /// The verb.
    pub action: Action,
    /// On what.
    pub resource: ResourceId,
    /// What was decided.
    pub effect: Effect,
    /// When it was decided, which is before it happened.
    pub decided: Timestamp,
    /// When it ended, if it did.
    pub settled: Option<Timestamp>,
    /// The identity that acted.
    pub identity: SpiffeId,
    /// Which copy of it.
    pub instance: InstanceId,
    /// The task it acted under, then each that this one hangs from; the last was started by a person.
    pub tasks: Vec<TaskStep>,
    /// The index of the decision's entry in the log.
    pub index: u64,
    /// The texts that it made or sent on.
    pub outputs: Vec<Output>,
    /// What it was made from.
    pub inputs: Vec<Input>,
}

/// A file that a task made from others, on somebody's word.
#[derive(Clone, Debug)]
pub struct Made {
    /// The file.
    pub file: File,
    /// The task that made it.
    pub task: TaskId,
    /// The identity that acted in it.
    pub identity: SpiffeId,
    /// Which copy of it, where that is known.
    pub instance: Option<InstanceId>,
    /// That task, then each that it hangs from; the last was started by a person.
    pub tasks: Vec<TaskStep>,
    /// When it was vouched for.
    pub attested: Timestamp,
    /// Who did.
    pub attested_by: Option<By>,
    /// The index of the entry in the log.
    pub index: u64,
    /// What it was made from.
    pub inputs: Vec<Committed>,
    /// Where the traced file has it.
    pub outputs: Vec<Output>,
}

/// A task on the way to the person.
#[derive(Clone, Debug)]
pub struct TaskStep {
    /// The task.
    pub task: TaskId,
    /// The identity that acts in it.
    pub actor: SpiffeId,
    /// The person it is for.
    pub principal: PersonId,
    /// What the person declared.
    pub purpose: String,
    /// The elevation whose approval started it.
    pub elevation: Option<ElevationId>,
}

/// A text that an action carried, or a file that was made.
#[derive(Clone, Debug)]
pub struct Output {
    /// SHA-256 of its bytes.
    pub digest: Committed,
    /// The lines of the traced file that hold it or a part of it; none where the file holds nothing of it.
    pub lines: Option<Lines>,
    /// How it was found, in the words of the trace: `exact`, `normalised`, `fragment`.
    pub class: Option<String>,
}

/// Lines of a file, from 1, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lines {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Something that an action was made from.
#[derive(Clone, Debug)]
pub struct Input {
    /// SHA-256 of its bytes, where it is known.
    pub digest: Option<Committed>,
    /// The earlier action that it came from, where one is known.
    pub cause: Option<RecordId>,
}
