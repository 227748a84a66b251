//! Why a command failed, and its exit code.

use std::process::ExitCode;

/// A failed command: what happened, where, and what to do next.
#[derive(Debug)]
pub struct Failure {
    pub code: Code,
    pub message: String,
}

/// Exit codes. 0 is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Something failed.
    Failed = 1,
    /// The input was wrong: a bad manifest, a value that does not parse. Nothing was changed.
    Input = 2,
    /// A rule said no: denied, not permitted, revoked, a widening.
    Refused = 3,
    /// What was looked for is not there, or what was verified is not whole.
    NotFound = 4,
}

impl Failure {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Code::Input, message)
    }

    /// With what it is about before it, as the setting that named the file.
    pub fn of(self, what: &str) -> Self {
        Self { message: format!("{what}: {}", self.message), ..self }
    }

    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}

/// Any other error, with all that it says.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::failed(marque_engine::describe(&error))
    }
}

pub type Result<T> = std::result::Result<T, Failure>;
