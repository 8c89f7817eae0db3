//! Runs the binary under a watchdog.
//!
//! The watchdog is no assertion on speed: it is there so that a hang is a failure with a name and not
//! a test run that never ends.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// After this long without an end, a run counts as hung. Cases take milliseconds.
pub const WATCHDOG: Duration = Duration::from_secs(60);

/// What a finished process left.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Finished {
    /// `None`: ended by a signal.
    pub exit: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

/// Runs the binary with `args` in `dir`, or says that it hung, with what it had printed.
pub fn run(dir: &Path, args: &[String], stdin: Option<&[u8]>) -> Result<Finished, String> {
    let mut running = start(dir, args, stdin)?;
    running.finish()
}

/// A process whose output is being collected.
pub struct Running {
    child: Child,
    output: mpsc::Receiver<(usize, Vec<u8>)>,
}

/// Starts the binary; its output is read while it runs.
pub fn start(dir: &Path, args: &[String], stdin: Option<&[u8]>) -> Result<Running, String> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_varpulis"))
        .args(args)
        .current_dir(dir)
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .env("NO_COLOR", "1")
        .env("RUST_BACKTRACE", "0")
        .spawn()
        .map_err(|error| format!("cannot start the binary: {error}"))?;
    if let Some(bytes) = stdin {
        let mut pipe = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        // A process that stops reading closes the pipe; that is its right, and no failure of the case.
        std::thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    let (sender, output) = mpsc::channel();
    collect(0, child.stdout.take().unwrap(), sender.clone());
    collect(1, child.stderr.take().unwrap(), sender);
    Ok(Running { child, output })
}

fn collect(index: usize, mut pipe: impl Read + Send + 'static, sender: mpsc::Sender<(usize, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut chunk = [0; 1 << 16];
        while let Ok(n @ 1..) = pipe.read(&mut chunk) {
            if sender.send((index, chunk[..n].to_vec())).is_err() {
                return;
            }
        }
    });
}

impl Running {
    /// Waits until both outputs are closed, and gives everything; kills the process when it is silent
    /// for [`WATCHDOG`].
    pub fn finish(&mut self) -> Result<Finished, String> {
        let mut texts = [Vec::new(), Vec::new()];
        loop {
            match self.output.recv_timeout(WATCHDOG) {
                Ok((index, bytes)) => texts[index].extend(bytes),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    let id = self.child.id();
                    self.child.kill().map_err(|error| format!("process {id} hung and cannot be killed: {error}"))?;
                    self.child.wait().map_err(|error| error.to_string())?;
                    let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
                    return Err(format!(
                        "hung: silent for {WATCHDOG:?}, killed\n--- its output\n{}--- its errors\n{}",
                        shown(&texts[0]),
                        shown(&texts[1])
                    ));
                }
            }
        }
        let status = self.child.wait().map_err(|error| error.to_string())?;
        let [stdout, stderr] = texts;
        Ok(Finished { exit: status.code(), stdout, stderr })
    }
}

impl Drop for Running {
    /// A case that fails half-way leaves no process behind.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
