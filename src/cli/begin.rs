//! How a run that saves its state begins: where that is, what is found there, and what it means if it
//! cannot be used.

use std::path::PathBuf;

use super::args::RunArgs;
use super::supervise::mark_of_supervisor;
use super::{EXIT_FAILED, EXIT_LOST, EXIT_STATE, EXIT_USAGE, complain};
use crate::checkpoint::recovery::RecoveryError;
use crate::connector::spec::Input;
use crate::runtime::checkpoints::{Beginning, Checkpoints, Intended, Looked, RestoreError};
use crate::runtime::cluster::{ClusterError, Membership, Peers};
use crate::runtime::job::Saving;
use crate::runtime::settings::{Ineffective, OpenError, Saved, Wishes, settle};
use crate::sema::hir::Settings;
use crate::state::lock::RunLock;
use crate::state::place::{Place, PlaceError};
use crate::state::store::StoreError;

/// Whether a run is to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Run,
    /// Nothing is changed, and a run may be under way.
    Look,
}

/// What the only or first process may continue from.
pub struct Opened {
    checkpoints: Checkpoints,
    pub looked: Looked,
    lock: Option<RunLock>,
}

fn wished(args: &RunArgs, settings: &Settings) -> Result<(Option<Saved>, Vec<Ineffective>), PlaceError> {
    let wishes =
        Wishes { state_dir: args.state_dir.clone(), interval: args.checkpoint_interval, restore: args.restore };
    settle(settings, &wishes)
}

/// Where state goes that does not fit in memory: beside what is saved, or where the system has temporary files.
pub fn scratch_folder(args: &RunArgs, settings: &Settings, process: usize) -> PathBuf {
    let place = wished(args, settings).ok().and_then(|(saved, _)| saved).map(|saved| saved.place);
    match place {
        Some(Place::Path(path) | Place::Files(path) | Place::RocksDb(path)) => {
            path.join("scratch").join(process.to_string())
        }
        Some(Place::S3(_)) | None => std::env::temp_dir().join(format!("varpulis-{}", std::process::id())),
    }
}

/// Opens the place where the run saves its state, if it does, and looks for the checkpoint that it would
/// continue from.
pub fn open(args: &RunArgs, settings: &Settings, mode: Mode) -> Result<Option<Opened>, BeginError> {
    let (saved, ineffective) = wished(args, settings)?;
    ineffective.iter().for_each(|what| complain(format!("warning: {what}")));
    let Some(saved) = saved else { return Ok(None) };
    let (checkpoints, lock) = match mode {
        Mode::Run => saved.open(args.processes, mark_of_supervisor())?,
        Mode::Look => match saved.look().map_err(OpenError::from)? {
            Some(checkpoints) => (checkpoints, None),
            None => return Ok(None),
        },
    };
    let looked = checkpoints.look()?;
    Ok(Some(Opened { checkpoints, looked, lock }))
}

/// What the run begins with, and the lock that it holds on the place. Of several processes the first has
/// `opened` it, and the others begin with what it found.
pub fn saving(
    args: &RunArgs,
    intended: Intended<'_>,
    settings: &Settings,
    opened: Option<Opened>,
    cluster: Option<(&Membership, &mut Peers)>,
) -> Result<Option<(Saving, Option<RunLock>)>, BeginError> {
    let (Some(saved), _) = wished(args, settings)? else { return Ok(None) };
    if intended.plan.sources.iter().any(|s| matches!(s.input, Input::Stdin { .. })) && !args.quiet {
        complain("warning: standard input cannot be read again: a crash loses the rows read since the last checkpoint");
    }
    let Some((members, peers)) = cluster else {
        let Opened { checkpoints, looked, lock } = opened.expect("who saves has looked");
        let found = checkpoints.find(looked, intended)?;
        return Ok(Some((Saving { checkpoints, found, connections: Vec::new() }, lock)));
    };
    let connections = std::mem::take(&mut peers.checkpoints);
    if let Some(Opened { checkpoints, looked, lock }) = opened {
        let found = checkpoints.find(looked, intended);
        let told = Beginning::of(&found).ok_or_else(|| found.as_ref().map_or_else(restore_code, |_| 0));
        peers.tell(told.as_ref().map_err(|code| *code))?;
        // The others know what to do, also where there is nothing left to do.
        let found = found.inspect_err(|_| peers.part())?;
        return Ok(Some((Saving { checkpoints, found, connections }, lock)));
    }
    let beginning = peers.hear::<Beginning>()?.map_err(BeginError::First)?;
    let checkpoints = saved.join(args.processes, mark_of_supervisor()).map_err(OpenError::from)?;
    let found = checkpoints.join(&beginning, members.process)?;
    Ok(Some((Saving { checkpoints, found, connections }, None)))
}

/// Why a run that saves its state does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    #[error(transparent)]
    Place(#[from] PlaceError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error("the first process does not begin the run")]
    First(u8),
}

impl BeginError {
    pub fn exit_code(&self) -> u8 {
        match self {
            BeginError::Place(_) => EXIT_USAGE,
            BeginError::Open(OpenError::Store(StoreError::BadAddress { .. }) | OpenError::Lock(_)) => EXIT_STATE,
            // To ask again may help.
            BeginError::Open(OpenError::Store(_)) => EXIT_FAILED,
            BeginError::Restore(error) => restore_code(error),
            BeginError::Cluster(_) => EXIT_LOST,
            BeginError::First(code) => *code,
        }
    }
}

/// The exit code of a run that does not begin for this reason.
pub fn restore_code(error: &RestoreError) -> u8 {
    match error {
        // There is nothing left to do, and that is no failure.
        RestoreError::Finished { .. } => 0,
        // To try again may help.
        RestoreError::Recovery(RecoveryError::Store(_)) | RestoreError::Output(_) => EXIT_FAILED,
        RestoreError::Recovery(RecoveryError::Segment { .. } | RecoveryError::Entry { .. })
        | RestoreError::NoneHolds { .. }
        | RestoreError::NoSuch { .. }
        | RestoreError::Invalid { .. }
        | RestoreError::OtherProgram { .. }
        | RestoreError::NotShared { .. }
        | RestoreError::ClockTimer { .. }
        | RestoreError::InputChanged { .. } => EXIT_STATE,
    }
}
