//! The lines of the SPIFFE conformance checklist that this crate can hold, and what must hold for any input.

#[cfg(test)]
mod checklist;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod properties;
