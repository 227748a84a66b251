//! The use cases on a state directory of their own, with a clock that moves only when a test says so.

#[cfg(test)]
mod approve;
#[cfg(test)]
mod artifacts;
#[cfg(test)]
mod attest;
#[cfg(test)]
mod authorities;
#[cfg(test)]
mod authorize;
#[cfg(test)]
mod brokered;
#[cfg(test)]
mod busy;
#[cfg(test)]
mod erase;
#[cfg(test)]
mod exchange;
#[cfg(test)]
mod expiry;
#[cfg(test)]
mod follow;
#[cfg(test)]
mod followers;
#[cfg(test)]
mod history;
#[cfg(test)]
mod joining;
#[cfg(test)]
mod lineage;
#[cfg(test)]
mod manifest;
#[cfg(test)]
mod matching;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod oidc;
#[cfg(test)]
mod opening;
#[cfg(test)]
mod permits;
#[cfg(test)]
mod query;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod regressions;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod tokens;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod world;
