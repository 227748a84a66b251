//! Properties of whole logs and their proofs, and agreement with verifiers that others wrote.

#[cfg(test)]
mod files;
#[cfg(test)]
mod oracles;
#[cfg(test)]
mod proofs;
#[cfg(test)]
mod sample;
