//! The newest action of a task: what a work that was just made hangs from.

use marque_core::decision::Effect;
use marque_core::id::{LeaseId, RecordId, TaskId};
use marque_store::index::{Field, Term};

use crate::error::{EngineError, Result};
use crate::open::Engine;

impl Engine {
    /// The task of a live credential.
    pub fn task_of(&self, lease: LeaseId) -> Result<TaskId> {
        let now = self.now();
        let state = self.state();
        let no_task = || EngineError::Forbidden("this credential is of no task and allows nothing".into());
        let task = state.check_lease(lease, now)?.task.ok_or_else(no_task)?;
        Ok(state.check_task(task, now)?.id)
    }

    /// The newest action that was allowed under a task (blocking); nothing where it has not acted yet. What was only asked
    /// for is no action.
    pub fn newest_record(&self, task: TaskId) -> Result<Option<RecordId>> {
        let views = self.fresh_views()?;
        let index = views.index();
        let one = |field, value: String| vec![Term { field, value }];
        let groups = [
            one(Field::Task, task.to_string()),
            one(Field::Decision, Effect::Allow.as_str().to_owned()),
            one(Field::Kind, "decided".to_owned()),
        ];
        let Some(seq) = index.find(&groups, 0, index.covers(), 1)?.pop() else { return Ok(None) };
        Ok(views.record_at(seq)?.map(|row| row.decided.record))
    }
}
