//! Every kept input through its target, and some thousand inputs made from them, the same on every run.

#[cfg(test)]
mod replay;
