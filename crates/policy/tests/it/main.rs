//! Policies: what is refused when they are read, what they decide, and the laws that every decision keeps.

#[cfg(test)]
mod arguments;
#[cfg(test)]
mod decide;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod load;
#[cfg(test)]
mod search;
#[cfg(test)]
mod world;
