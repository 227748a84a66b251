//! The pages in process, before a real engine.

#[cfg(test)]
mod reading;
#[cfg(test)]
mod world;
