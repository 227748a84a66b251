//! The texts of the model, and events.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use marque_core::attestation::Selector;
use marque_core::event::{By, Event};
use marque_core::id::{ElevationId, EventId, InstanceId, LeaseId, RecordId, TaskId};
use marque_core::resource::{Action, ResourceId, Sensitivity};
use marque_core::revocation::Target;
use marque_core::scope::{Grant, Pattern, Scope};
use marque_core::spiffe::{SpiffeId, TrustDomain};
use marque_core::time::Ttl;
use marque_core::{Digest, PersonId};

/// [`SpiffeId`]: what parses has a trust domain that parses by itself, and one way of being written.
pub fn spiffe_id(data: &[u8]) {
    if let Some((_, id)) = parsed::<SpiffeId>(data) {
        same(&id.trust_domain().to_string(), id.trust_domain());
        assert_eq!(id.trust_domain().join(id.path()).as_ref(), Ok(&id));
        assert!(id.path().is_empty() || id.path().starts_with('/'), "{id}");
        assert!(id.to_string().len() <= 2048, "{id}");
    }
}

/// [`TrustDomain`].
pub fn trust_domain(data: &[u8]) {
    if let Some((_, name)) = parsed::<TrustDomain>(data) {
        assert!(!name.as_str().is_empty() && name.as_str().len() <= 255, "{name}");
        same(&name.id().to_string(), &name.id());
    }
}

/// [`Selector`]: one is kept as it was written, and on one line.
pub fn selector(data: &[u8]) {
    if let Some((text, selector)) = parsed::<Selector>(data) {
        assert_eq!(selector.as_str(), text);
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
}

/// [`Grant`] and its pattern: a grant covers itself and meets itself.
pub fn grant(data: &[u8]) {
    parsed::<Pattern>(data);
    if let Some((_, grant)) = parsed::<Grant>(data) {
        assert!(!grant.actions().is_empty(), "{grant}");
        assert!(grant.pattern().covers(grant.pattern()), "{grant}");
        let scope = Scope::new([grant]);
        assert!(scope.covers(&scope), "{scope}");
        assert_eq!(scope.meet(&scope), scope);
    }
}

/// [`Scope`].
pub fn scope(data: &[u8]) {
    if let Some((_, scope)) = parsed::<Scope>(data) {
        assert!(scope.covers(&scope), "{scope}");
        assert!(scope.covers(&scope.meet(&Scope::default())), "{scope}");
    }
}

/// [`ResourceId`], actions and sensitivities: one way of being written.
pub fn resource_id(data: &[u8]) {
    if let Some((text, id)) = parsed::<ResourceId>(data) {
        assert_eq!(id.to_string(), text);
        assert_eq!(ResourceId::new(id.kind(), id.name()).as_ref(), Ok(&id));
        assert!(Pattern::exactly(&id).matches(&id), "{id}");
    }
    if let Some((text, action)) = parsed::<Action>(data) {
        assert_eq!(action.as_str(), text);
    }
    if let Some(level) = text(data).and_then(|text| text.parse::<Sensitivity>().ok()) {
        assert_eq!(level.as_str().parse::<Sensitivity>().as_ref(), Ok(&level));
    }
}

/// All six kinds of identifier: a text is one of them at most, and written in one way.
pub fn id(data: &[u8]) {
    let as_written = [
        written::<TaskId>(data),
        written::<InstanceId>(data),
        written::<LeaseId>(data),
        written::<ElevationId>(data),
        written::<RecordId>(data),
        written::<EventId>(data),
    ];
    let found: Vec<&String> = as_written.iter().flatten().collect();
    assert!(found.len() <= 1, "{found:?}");
    assert!(found.iter().all(|printed| Some(printed.as_str()) == text(data)), "{found:?}");
}

/// [`Target`].
pub fn target(data: &[u8]) {
    parsed::<Target>(data);
}

/// [`PersonId`] and [`By`]: a name that is safe as a file's name.
pub fn person_id(data: &[u8]) {
    if let Some((_, person)) = parsed::<PersonId>(data) {
        let name = person.name();
        assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']), "{name:?}");
    }
    parsed::<By>(data);
}

/// [`Digest`]: one way of being written.
pub fn digest(data: &[u8]) {
    if let Some((text, digest)) = parsed::<Digest>(data) {
        assert_eq!(digest.to_string(), text);
    }
}

/// [`Ttl`].
pub fn ttl(data: &[u8]) {
    parsed::<Ttl>(data);
}

/// [`Event`]: what is read is written in one form, and that form is read as the same event.
pub fn event(data: &[u8]) {
    let Ok(event) = Event::from_bytes(data) else { return };
    let Ok(bytes) = event.to_bytes() else { return assert!(event.to_bytes().is_ok(), "{event:?} cannot be written") };
    let again = Event::from_bytes(&bytes);
    assert!(again.as_ref().is_ok_and(|again| *again == event), "{event:?} is read back as {again:?}");
    assert_eq!(again.ok().and_then(|again| again.to_bytes().ok()), Some(bytes));
    assert!(!event.what.kind().is_empty());
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

/// The value that a text is, if it is one; what it prints reads back the same.
fn parsed<T: FromStr + Display + Debug + PartialEq>(data: &[u8]) -> Option<(&str, T)>
where
    T::Err: Debug + Display,
{
    let text = text(data)?;
    match text.parse::<T>() {
        Ok(value) => {
            same(&value.to_string(), &value);
            Some((text, value))
        }
        Err(error) => {
            assert!(error.to_string().len() < 2_000, "an error as long as its input: {error}");
            None
        }
    }
}

fn written<T: FromStr + Display + Debug + PartialEq>(data: &[u8]) -> Option<String>
where
    T::Err: Debug + Display,
{
    parsed::<T>(data).map(|(_, value)| value.to_string())
}

fn same<T: FromStr + Display + Debug + PartialEq>(printed: &str, value: &T)
where
    T::Err: Debug,
{
    let again = printed.parse::<T>();
    assert!(again.as_ref().is_ok_and(|again| again == value), "{value:?} is printed as `{printed}`, which is {again:?}");
}
