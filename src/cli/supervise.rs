//! `varpulis run --supervise`: the run as a child of this process, which starts it again when it crashes.
//!
//! A run that has succeeded, was asked to stop, or would only fail again (a bad program, bad usage, rows
//! that it refuses, state that does not fit) is not started again. Everything else is a crash: a signal, a
//! panic, an input or output that failed, another process of the run that is gone.
//!
//! The child is in a process group of its own, so that Ctrl-C reaches it once and not twice: by way of
//! this process, which passes all signals on that a run understands. When this process dies, however it
//! does, the child is told to stop.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use super::{EXIT_FAILED, EXIT_REFUSED, EXIT_STATE, EXIT_USAGE, complain};

/// Before the first restart; it doubles with each.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// Shorter than processes of one run wait for each other, so that they meet again.
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// A run that lasted so long was well: what comes then is another crash.
const STEADY: Duration = Duration::from_secs(60);
/// By which the child knows that it is one, and that checkpoints were made by earlier ones of the same
/// supervisor.
const MARK: &str = "VARPULIS_SUPERVISOR";
pub const FLAG: &str = "--supervise";

/// What the threads of this process share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// As long as it is not waited for, so that its number is nobody else's.
    child: Option<Pid>,
    is_stopping: bool,
}

/// Runs this program with its arguments, but for the flag, until it ends for good.
pub fn supervise(args: impl Iterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.skip(1).filter(|arg| *arg != FLAG).collect();
    let shared = Arc::<Shared>::default();
    if let Err(error) = pass_signals(shared.clone()) {
        complain(format!("cannot listen to signals: {error}"));
        return EXIT_FAILED;
    }
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let mark = format!("{}-{}", std::process::id(), since_1970.as_nanos());
    let (mut restarts, mut in_a_row) = (0, 0);
    loop {
        let started = Instant::now();
        let status = match start(&args, &mark).and_then(|child| wait(child, &shared)) {
            Ok(status) => status,
            Err(error) => {
                complain(format!("cannot start the run: {error}"));
                return EXIT_FAILED;
            }
        };
        let lasted = started.elapsed();
        let code = exit_code(status);
        if shared.is_stopping() || is_final(status) {
            return code;
        }
        in_a_row = if lasted >= STEADY { 0 } else { in_a_row };
        let delay = delay(in_a_row);
        (restarts, in_a_row) = (restarts + 1, in_a_row + 1);
        complain(format!("the run ended by {} after {lasted:.1?}; restart {restarts} in {delay:?}", described(status)));
        if shared.stops_within(delay) {
            complain("stopped before the run was started again");
            return code;
        }
    }
}

fn delay(in_a_row: u32) -> Duration {
    FIRST_DELAY.saturating_mul(1 << in_a_row.min(16)).min(LONGEST_DELAY)
}

fn start(args: &[OsString], mark: &str) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(args).env(MARK, mark).process_group(0);
    if std::io::stdin().is_terminal() {
        // The system would halt a background process that reads it.
        command.stdin(Stdio::null());
    }
    command.spawn()
}

fn wait(mut child: Child, shared: &Shared) -> std::io::Result<ExitStatus> {
    let pid = Pid::from_child(&child);
    let already_stopping = {
        let mut state = shared.lock();
        state.child = Some(pid);
        state.is_stopping
    };
    if already_stopping {
        // The signal came when there was no child to pass it to.
        kill_process(pid, Signal::TERM)?;
    }
    // Its number stays its own until it is waited for in earnest.
    while let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(error.into());
        }
    }
    shared.lock().child = None;
    child.wait()
}

fn pass_signals(shared: Arc<Shared>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2])?;
    std::thread::spawn(move || {
        for number in signals.forever() {
            let signal = match number {
                SIGHUP => Signal::HUP,
                SIGINT => Signal::INT,
                SIGQUIT => Signal::QUIT,
                SIGUSR1 => Signal::USR1,
                SIGUSR2 => Signal::USR2,
                _ => Signal::TERM,
            };
            let mut state = shared.lock();
            state.is_stopping |= number != SIGUSR1;
            // It may have died this instant, and is not waited for yet.
            let _ = state.child.map(|child| kill_process(child, signal));
            shared.changed.notify_all();
        }
    });
    Ok(())
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_stopping(&self) -> bool {
        self.lock().is_stopping
    }

    /// Waits, unless a stop is asked for.
    fn stops_within(&self, delay: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), delay, |state| !state.is_stopping);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_stopping
    }
}

/// Whether the run is over, or would end the same way again.
fn is_final(status: ExitStatus) -> bool {
    let codes = [0, EXIT_USAGE, EXIT_REFUSED, EXIT_STATE];
    status.code().is_some_and(|code| codes.iter().any(|c| i32::from(*c) == code))
}

/// As a shell would tell it.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(EXIT_FAILED)
}

fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The mark of the supervisor, in a process that has one.
pub fn mark_of_supervisor() -> Option<String> {
    std::env::var(MARK).ok()
}

/// In a process that has a supervisor: it shall be told to stop when that dies.
#[cfg(target_os = "linux")]
pub fn follow_supervisor() {
    use rustix::process::{getpid, getppid, set_parent_process_death_signal};
    let pid_of = |mark: String| Pid::from_raw(mark.split_once('-')?.0.parse().ok()?);
    let Some(supervisor) = mark_of_supervisor().and_then(pid_of) else { return };
    // Where the system refuses, the run goes on when its supervisor is gone.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid() != Some(supervisor) {
        // It died before that was in force.
        let _ = kill_process(getpid(), Signal::TERM);
    }
}

/// Other systems do not tell a process of its parent's death.
#[cfg(not(target_os = "linux"))]
pub fn follow_supervisor() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit() {
        let delays: Vec<u128> = (0..9).map(|n| delay(n).as_millis()).collect();
        assert_eq!(delays, [250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(delay(u32::MAX), LONGEST_DELAY);
    }

    #[test]
    fn only_crashes_are_started_again() {
        let ended = |code: i32| ExitStatus::from_raw(code << 8);
        for (code, expected) in [(0, true), (1, false), (2, true), (3, true), (4, true), (75, false), (101, false)] {
            assert_eq!(is_final(ended(code)), expected, "{code}");
        }
        let killed = ExitStatus::from_raw(9);
        assert!(!is_final(killed));
        assert_eq!((exit_code(killed), exit_code(ended(75))), (137, 75));
    }
}
