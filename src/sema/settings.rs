//! `state:` and `checkpoint:`: what a program says of where its state lies and when it is saved.
//!
//! It has no part in what the program computes, and so stands beside the plan and not in it: to save more
//! often or elsewhere makes no other program. What is not said is `None` here; the defaults are those of
//! whoever obeys, and the command line may say something else.

use serde::{Deserialize, Serialize};

use crate::data::key::KEY_GROUPS;
use crate::diagnostic::{Diagnostic, Severity, codes};
use crate::sema::arguments::{Constants, Options};
use crate::sema::globals::{Block, Globals};
use crate::state::options::{Capacity, Compression, Eviction, MEMORY_BUDGET_BYTES_MIN, StateLimits};
use crate::state::place::Place;
use crate::syntax::ast::{BlockOption, Expr};

/// Both blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub state: StateOptions,
    pub checkpoint: CheckpointOptions,
}

/// A `state:` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StateOptions {
    pub backend: Backend,
    pub path: Option<String>,
    pub limits: StateLimits,
}

/// What keeps state that does not lie in the operators alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backend {
    #[default]
    InMemory,
    RocksDb {
        compression: Option<Compression>,
        block_cache_bytes: Option<u64>,
    },
}

/// A `checkpoint:` block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointOptions {
    pub enabled: Option<bool>,
    pub interval_ns: Option<i64>,
    pub on_shutdown: Option<bool>,
    /// Whether everything is saved each time.
    pub full: Option<bool>,
    pub compression: Option<Compression>,
    pub location: Option<String>,
    pub keep_last: Option<u64>,
    pub max_age_ns: Option<i64>,
}

const COMPRESSIONS: [(&str, Compression); 3] =
    [("zstd", Compression::Zstd), ("lz4", Compression::Lz4), ("none", Compression::None)];

const EVICTIONS: [(&str, Eviction); 3] = [("lru", Eviction::Lru), ("lfu", Eviction::Lfu), ("fifo", Eviction::Fifo)];

#[derive(Clone, Copy, PartialEq)]
enum BackendName {
    InMemory,
    RocksDb,
}

const BACKENDS: [(&str, BackendName); 2] = [("in_memory", BackendName::InMemory), ("rocksdb", BackendName::RocksDb)];

/// Reads the blocks of the program. `has_place`: something outside of it says where state is saved.
pub fn read(globals: &Globals<'_>, has_place: bool, findings: &mut Vec<Diagnostic>) -> Settings {
    let errors = |findings: &[Diagnostic]| findings.iter().filter(|d| d.severity == Severity::Error).count();
    let errors_before = errors(findings);
    let state = only(&globals.state_blocks, findings);
    let checkpoint = only(&globals.checkpoint_blocks, findings);
    let mut constants = Constants { globals, findings };
    let settings = Settings {
        state: state.map(|block| read_state(block.options, &mut constants)).unwrap_or_default(),
        checkpoint: checkpoint.map(|block| read_checkpoint(block.options, &mut constants)).unwrap_or_default(),
    };
    // A place that is wrong is a place all the same.
    let is_sound = errors(findings) == errors_before;
    let nowhere = is_sound && !has_place && settings.state.path.is_none() && settings.checkpoint.location.is_none();
    let wants = |block: &Block<'_>| match block.keyword.text.as_str() {
        "checkpoint" => settings.checkpoint.enabled != Some(false),
        _ => settings.state.backend != Backend::InMemory,
    };
    if let Some(block) = [checkpoint, state].into_iter().flatten().find(wants).filter(|_| nowhere) {
        let message = "nothing says where state is saved, so it is not";
        let found = Diagnostic::warning(codes::NOT_SAVED, block.keyword.span, message);
        let hint = "`path:` in `state:`, `location:` in the `strategy:` of `checkpoint:`, or --state-dir says it";
        findings.push(found.with_hint(hint));
    }
    settings
}

/// The first of the blocks; there may be no other, in whatever file.
fn only<'a>(blocks: &[Block<'a>], findings: &mut Vec<Diagnostic>) -> Option<Block<'a>> {
    let first = blocks.first()?;
    for other in &blocks[1..] {
        let message = format!("a program has one `{}:` block", other.keyword.text);
        let found = Diagnostic::error(codes::GIVEN_TWICE, other.keyword.span, message);
        findings.push(found.with_label(first.keyword.span, "it is here"));
    }
    Some(*first)
}

fn read_state(options: &[BlockOption], constants: &mut Constants<'_, '_>) -> StateOptions {
    let known = ["backend", "path", "capacity", "eviction", "compression", "block_cache_size", "memory_budget"];
    let given = Options::read("`state:`", options, &known, &[], constants.findings);
    let backend = given.get("backend").map(|e| constants.word(e, "`backend`", &BACKENDS));
    let compression = given.get("compression").and_then(|e| constants.word(e, "`compression`", &COMPRESSIONS));
    let block_cache_bytes = given.get("block_cache_size").and_then(|e| constants.size(e, "`block_cache_size`"));
    let path = given.get("path").and_then(|e| plain_path(e, constants));
    let limits = read_limits(&given, constants);
    match backend {
        Some(Some(BackendName::RocksDb)) => {
            reject_capacity(&given, constants.findings);
            let backend = Backend::RocksDb { compression, block_cache_bytes };
            return StateOptions { backend, path, limits };
        }
        // The block says it, and nobody knows what it says.
        Some(None) => {}
        Some(Some(BackendName::InMemory)) | None => {
            for name in ["compression", "block_cache_size", "memory_budget"] {
                let Some(name) = given.name(name) else { continue };
                let message = format!("`{}` goes with the backend \"rocksdb\" only", name.text);
                let found = Diagnostic::error(codes::BAD_OPTION, name.span, message);
                constants.findings.push(match name.text.as_str() {
                    "compression" => found.with_hint("what checkpoints are compressed by stands in their `strategy:`"),
                    _ => found,
                });
            }
        }
    }
    StateOptions { backend: Backend::InMemory, path, limits }
}

fn read_limits(given: &Options<'_>, constants: &mut Constants<'_, '_>) -> StateLimits {
    let entries = given.get("capacity").and_then(|e| read_capacity(e, constants));
    let eviction = given.get("eviction").and_then(|e| constants.word(e, "`eviction`", &EVICTIONS)).unwrap_or_default();
    let memory_budget_bytes = given.get("memory_budget").and_then(|e| read_budget(e, constants));
    if let (Some(name), None) = (given.name("eviction"), given.name("capacity")) {
        let message = "`eviction` says what goes beyond a `capacity`, and none is given";
        constants.findings.push(Diagnostic::error(codes::BAD_OPTION, name.span, message));
    }
    let capacity = entries.map(|entries| Capacity { entries, eviction });
    StateLimits { memory_budget_bytes, capacity }
}

fn read_budget(e: &Expr, constants: &mut Constants<'_, '_>) -> Option<u64> {
    let bytes = constants.size(e, "`memory_budget`")?;
    if bytes >= MEMORY_BUDGET_BYTES_MIN {
        return Some(bytes);
    }
    let message = "a `memory_budget` below 1MB would be spent on finding what is on disk";
    constants.findings.push(Diagnostic::error(codes::BAD_OPTION, e.span, message));
    None
}

/// Every key group has a share, and a share has at least one entry.
fn read_capacity(e: &Expr, constants: &mut Constants<'_, '_>) -> Option<u64> {
    let entries = constants.count(e, "`capacity`")?;
    if entries >= KEY_GROUPS {
        return Some(entries);
    }
    let message = format!("a `capacity` is divided among {KEY_GROUPS} key groups, and so is at least {KEY_GROUPS}");
    constants.findings.push(Diagnostic::error(codes::BAD_OPTION, e.span, message));
    None
}

/// Where entries go to disk, none is to be dropped.
fn reject_capacity(given: &Options<'_>, findings: &mut Vec<Diagnostic>) {
    let Some(name) = given.name("capacity") else { return };
    let message = "`capacity` goes with the backend \"in_memory\" only";
    let found = Diagnostic::error(codes::BAD_OPTION, name.span, message);
    findings.push(found.with_hint("with \"rocksdb\", `memory_budget` bounds the memory of state, and nothing is lost"));
}

fn read_checkpoint(options: &[BlockOption], constants: &mut Constants<'_, '_>) -> CheckpointOptions {
    let known = ["enabled", "interval", "on_shutdown"];
    let given = Options::read("`checkpoint:`", options, &known, &["strategy", "retention"], constants.findings);
    let known = ["type", "compression", "location"];
    let strategy = Options::read("`strategy:`", given.block("strategy"), &known, &[], constants.findings);
    let known = ["keep_last", "max_age"];
    let retention = Options::read("`retention:`", given.block("retention"), &known, &[], constants.findings);
    let types = [("incremental", false), ("full", true)];
    CheckpointOptions {
        enabled: given.get("enabled").and_then(|e| constants.boolean(e, "`enabled`")),
        interval_ns: given.get("interval").and_then(|e| constants.duration(e, "`interval`")),
        on_shutdown: given.get("on_shutdown").and_then(|e| constants.boolean(e, "`on_shutdown`")),
        full: strategy.get("type").and_then(|e| constants.word(e, "`type`", &types)),
        compression: strategy.get("compression").and_then(|e| constants.word(e, "`compression`", &COMPRESSIONS)),
        location: strategy.get("location").and_then(|e| location(e, constants)),
        keep_last: retention.get("keep_last").and_then(|e| constants.count(e, "`keep_last`")),
        max_age_ns: retention.get("max_age").and_then(|e| constants.duration(e, "`max_age`")),
    }
}

/// A folder of this machine.
fn plain_path(e: &Expr, constants: &mut Constants<'_, '_>) -> Option<String> {
    let text = constants.text(e, "`path`")?;
    match Place::parse(&text) {
        Ok(Place::Path(_)) => Some(text),
        Ok(Place::Files(_) | Place::RocksDb(_) | Place::S3(_)) => {
            let found = Diagnostic::error(codes::BAD_OPTION, e.span, "`path` is a folder of this machine");
            let hint = "an address can be the `location:` in the `strategy:` of `checkpoint:`";
            constants.findings.push(found.with_hint(hint));
            None
        }
        Err(reason) => {
            constants.findings.push(Diagnostic::error(codes::BAD_OPTION, e.span, format!("`path`: {reason}")));
            None
        }
    }
}

/// A place of any kind.
fn location(e: &Expr, constants: &mut Constants<'_, '_>) -> Option<String> {
    let text = constants.text(e, "`location`")?;
    match Place::parse(&text) {
        Ok(_) => Some(text),
        Err(reason) => {
            constants.findings.push(Diagnostic::error(codes::BAD_OPTION, e.span, format!("`location`: {reason}")));
            None
        }
    }
}
