//! Why a run ends before its input does, shared by all workers of a process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::connector::rejects::Refusal;

/// The first reason to stop wins.
#[derive(Debug, Default)]
pub struct Stop {
    requested: AtomicBool,
    reason: Mutex<Option<StopReason>>,
}

#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub enum StopReason {
    /// Ctrl-C, SIGTERM.
    Interrupted,
    /// Whoever reads the output has gone.
    Closed,
    /// An input cannot be read, an output not be written.
    Failed(String),
    /// A malformed row under `on_error: "fail"`, or one that contradicts a sampled type.
    Refused(Box<Refusal>),
}

impl Stop {
    pub fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    pub fn request(&self, reason: StopReason) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
        self.requested.store(true, Ordering::Relaxed);
    }

    pub fn fail(&self, message: String) {
        self.request(StopReason::Failed(message));
    }

    pub fn refuse(&self, refusal: Refusal) {
        self.request(StopReason::Refused(Box::new(refusal)));
    }

    pub fn reason(&self) -> Option<StopReason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
