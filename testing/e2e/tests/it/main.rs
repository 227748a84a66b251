//! The binary as its users meet it: started, killed, given bad input, and held against its documentation.
//!
//! `MARQUE_BIN` names the binary; without it, the one that `cargo build --package marque` leaves is taken.

#[cfg(test)]
mod child;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod containment;
#[cfg(test)]
mod device;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod docs;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod export;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod git;
#[cfg(test)]
mod http;
#[cfg(test)]
mod input;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod liar;
#[cfg(test)]
mod load;
#[cfg(test)]
mod nodes;
#[cfg(test)]
mod office;
#[cfg(test)]
mod process;
#[cfg(test)]
mod seal;
#[cfg(test)]
mod second;
#[cfg(test)]
mod transcript;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod web;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod witness;
#[cfg(test)]
mod world;
