//! Properties of whole logs and their proofs, agreement with verifiers that others wrote, and the checklist of C2SP.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod checklist;
#[cfg(test)]
mod files;
#[cfg(test)]
mod oracles;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod witness;
