//! Properties of printing, decoding and attributing.

#[cfg(test)]
mod attributing;
#[cfg(test)]
mod decoding;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod printing;
