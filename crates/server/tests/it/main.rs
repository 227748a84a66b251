//! The surfaces in process: the administration API, the token endpoint, the Workload API and exports, before a real engine.

#[cfg(test)]
mod authorities;
#[cfg(test)]
mod broker;
#[cfg(test)]
mod checklist;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod ledger;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod reading;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod sds;
#[cfg(test)]
mod syslog;
#[cfg(test)]
mod web;
#[cfg(test)]
mod wit;
#[cfg(test)]
mod workload;
#[cfg(test)]
mod world;
