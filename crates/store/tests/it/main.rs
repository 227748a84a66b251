//! The log against crashes, the tiles against an offline verifier, and the views against a small model.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod log;
#[cfg(test)]
mod model;
#[cfg(test)]
mod prune;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod tiles;
#[cfg(test)]
mod veil;
#[cfg(test)]
mod views;
#[cfg(test)]
mod world;
