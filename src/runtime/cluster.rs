//! Several processes as one run: who is who, and the connections between them.
//!
//! Timely's own connection code prints to stdout and sleeps a second per attempt, and knows neither
//! versions nor plans; so the connections are made here and handed to it. Every connection begins with
//! a hello (magic, format version, program version, number of processes and workers, who calls, what
//! for). Process 0 compiles; the others get the plan from it over the connection for reports, which
//! stays open until the end ([`watch`](super::watch)).
//!
//! Not promised: a process that dies takes the run with it. Starting again is a matter for whoever
//! started it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::job::Share;
use super::watch::{Control, OnLost};

/// How long processes wait for each other to start.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const MAGIC: [u8; 8] = *b"varpulis";
/// Of the hello and what follows it.
const PROTOCOL_VERSION: u32 = 1;
/// The longest message between processes outside the dataflow; plans and reports are far below.
const MESSAGE_BYTES_MAX: u32 = 64 << 20;
/// How deep a plan may nest as JSON: a program's expressions and patterns are bounded in depth, and each of their
/// levels is a few.
const NESTING_MAX: usize = 10_000;
/// Ample for so many levels.
pub const DEEP_STACK_BYTES: usize = 64 << 20;

/// This process among those of the run.
#[derive(Clone, Debug)]
pub struct Membership {
    pub process: usize,
    pub workers: usize,
    /// `host:port` of every process, in order.
    pub addresses: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    #[error("{path}: {reason}")]
    HostFile { path: String, reason: String },
    #[error("cannot listen on {address}: {source}")]
    Listen { address: String, source: std::io::Error },
    #[error("process {process} at {address} could not be reached within {} s", START_TIMEOUT.as_secs())]
    Unreachable { process: usize, address: String },
    #[error("{count} of the processes did not connect within {} s", START_TIMEOUT.as_secs())]
    Missing { count: usize },
    #[error("the process at {peer} does not fit: {reason}")]
    Mismatch { peer: String, reason: String },
    #[error("the connection to another process broke: {0}")]
    Broken(#[from] std::io::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Purpose {
    /// Batches and progress.
    Data,
    /// The plan at the beginning, the report at the end.
    Control,
    /// What the first process and another say to each other of checkpoints.
    Checkpoints,
}

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    version: String,
    processes: usize,
    workers: usize,
    process: usize,
    purpose: Purpose,
}

/// The connections of one process.
pub struct Peers {
    /// By process; `None` for this one.
    pub data: Vec<Option<TcpStream>>,
    /// By process: of the first, one to each of the others; of the others, one to the first.
    pub checkpoints: Vec<Option<TcpStream>>,
    process: usize,
    control: Control,
}

impl Membership {
    /// Reads a host file: one `host:port` per line, of which the first `processes` count.
    pub fn read(path: &Path, processes: usize, process: usize, workers: usize) -> Result<Membership, ClusterError> {
        let error = |reason: String| ClusterError::HostFile { path: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
        let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
        let addresses: Vec<String> = lines.take(processes).map(str::to_string).collect();
        if addresses.len() < processes {
            return Err(error(format!("it names {} hosts, and there are {processes} processes", addresses.len())));
        }
        if let Some(bad) = addresses.iter().find(|a| !a.contains(':')) {
            return Err(error(format!("`{bad}` is not host:port")));
        }
        Ok(Membership { process, workers, addresses })
    }

    /// Which part of the run this process does.
    pub fn share(&self) -> Share {
        Share { process: self.process, processes: self.processes() }
    }

    pub fn processes(&self) -> usize {
        self.addresses.len()
    }

    /// Connects to all other processes; returns when all are there. From then on `on_lost` is told when one
    /// is gone.
    pub fn connect(&self, on_lost: OnLost) -> Result<Peers, ClusterError> {
        let address = &self.addresses[self.process];
        let port = address.rsplit(':').next().unwrap_or_default();
        let listen = |a: &str| TcpListener::bind(a);
        // The name by which others reach this host need not be one of its own interfaces.
        let listener = listen(address).or_else(|_| listen(&format!("0.0.0.0:{port}")));
        let listener = listener.map_err(|source| ClusterError::Listen { address: address.clone(), source })?;
        let deadline = Instant::now() + START_TIMEOUT;
        let mut data: Vec<Option<TcpStream>> = (0..self.processes()).map(|_| None).collect();
        for (process, slot) in data.iter_mut().enumerate().take(self.process) {
            *slot = Some(self.call(process, Purpose::Data, deadline)?);
        }
        if self.process > 0 {
            let control = self.call(0, Purpose::Control, deadline)?;
            let checkpoints = vec![Some(self.call(0, Purpose::Checkpoints, deadline)?)];
            self.accept(&listener, &mut data, &mut [], &mut [], deadline)?;
            let control = Control::new(vec![(0, control)], &self.addresses, on_lost)?;
            return Ok(Peers { data, checkpoints, process: self.process, control });
        }
        let empty = || (0..self.processes()).map(|_| None).collect();
        let (mut control, mut checkpoints): (Vec<Option<TcpStream>>, Vec<Option<TcpStream>>) = (empty(), empty());
        self.accept(&listener, &mut data, &mut control, &mut checkpoints, deadline)?;
        let control = control.into_iter().enumerate().filter_map(|(process, s)| Some((process, s?))).collect();
        let control = Control::new(control, &self.addresses, on_lost)?;
        Ok(Peers { data, checkpoints, process: self.process, control })
    }

    fn hello(&self, purpose: Purpose) -> Hello {
        Hello {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_string(),
            processes: self.processes(),
            workers: self.workers,
            process: self.process,
            purpose,
        }
    }

    fn call(&self, process: usize, purpose: Purpose, deadline: Instant) -> Result<TcpStream, ClusterError> {
        let address = &self.addresses[process];
        loop {
            if let Ok(mut stream) = TcpStream::connect(address) {
                stream.set_nodelay(true)?;
                stream.write_all(&MAGIC)?;
                write_message(&mut stream, &self.hello(purpose))?;
                return Ok(stream);
            }
            if Instant::now() > deadline {
                return Err(ClusterError::Unreachable { process, address: address.clone() });
            }
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    /// Accepts the calls of later processes until every slot is filled.
    fn accept(
        &self,
        listener: &TcpListener,
        data: &mut [Option<TcpStream>],
        control: &mut [Option<TcpStream>],
        checkpoints: &mut [Option<TcpStream>],
        deadline: Instant,
    ) -> Result<(), ClusterError> {
        listener.set_nonblocking(true)?;
        loop {
            let own = self.process;
            let open = |slots: &[Option<TcpStream>]| {
                slots.iter().enumerate().filter(|(i, s)| *i != own && s.is_none()).count()
            };
            let missing = open(data) + open(control) + open(checkpoints);
            if missing == 0 {
                return Ok(());
            }
            match listener.accept() {
                Ok((mut stream, peer)) => {
                    stream.set_nonblocking(false)?;
                    stream.set_nodelay(true)?;
                    let hello = self.read_hello(&mut stream, &peer.to_string())?;
                    match hello.purpose {
                        Purpose::Data => data[hello.process] = Some(stream),
                        Purpose::Control => control[hello.process] = Some(stream),
                        Purpose::Checkpoints => checkpoints[hello.process] = Some(stream),
                    }
                }
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    if Instant::now() > deadline {
                        return Err(ClusterError::Missing { count: missing });
                    }
                    std::thread::sleep(RETRY_PAUSE);
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn read_hello(&self, stream: &mut TcpStream, peer: &str) -> Result<Hello, ClusterError> {
        let mismatch = |reason: String| ClusterError::Mismatch { peer: peer.to_string(), reason };
        stream.set_read_timeout(Some(START_TIMEOUT))?;
        let mut magic = [0; MAGIC.len()];
        stream.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(mismatch("it is no varpulis".to_string()));
        }
        let hello: Hello = read_message(stream)?;
        stream.set_read_timeout(None)?;
        let own = self.hello(hello.purpose);
        if (hello.protocol, &hello.version) != (own.protocol, &own.version) {
            return Err(mismatch(format!("it has version {}, this one {}", hello.version, own.version)));
        }
        if hello.processes != own.processes || hello.workers != own.workers {
            let (n, w) = (hello.processes, hello.workers);
            return Err(mismatch(format!(
                "it was started with -n {n} -w {w}, this one with -n {} -w {}",
                own.processes, own.workers
            )));
        }
        if hello.process <= self.process || hello.process >= self.processes() {
            return Err(mismatch(format!("it says that it is process {}", hello.process)));
        }
        Ok(hello)
    }
}

impl Peers {
    /// Process 0 tells all others something; or, as an error, that there is no run, and the exit code of it.
    pub fn tell<T: Serialize>(&mut self, value: Result<&T, u8>) -> Result<(), ClusterError> {
        self.control.tell(&value)?;
        if value.is_err() {
            self.control.part();
        }
        Ok(())
    }

    /// What process 0 told.
    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<Result<T, u8>, ClusterError> {
        let (_, value) = self.control.hear::<Result<T, u8>>()?;
        if value.is_err() {
            self.control.part();
        }
        Ok(value)
    }

    /// Nobody is missed from here on, and nobody misses this process.
    pub fn part(&self) {
        self.control.part();
    }

    /// The others give `value` to process 0, which gets all of them in the order of the processes. After it
    /// nobody is missed.
    pub fn gather<T: Serialize + DeserializeOwned>(&mut self, own: T) -> Result<Vec<T>, ClusterError> {
        if self.process > 0 {
            self.control.tell(&own)?;
            self.control.part();
            return Ok(Vec::new());
        }
        let mut others: Vec<(usize, T)> = Vec::new();
        while others.len() < self.control.others() {
            others.push(self.control.hear()?);
        }
        self.control.part();
        others.sort_by_key(|(process, _)| *process);
        Ok([own].into_iter().chain(others.into_iter().map(|(_, value)| value)).collect())
    }
}

pub fn write_message<T: Serialize>(stream: &mut TcpStream, value: &T) -> std::io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    stream.write_all(&(bytes.len() as u32).to_be_bytes())?;
    stream.write_all(&bytes)
}

pub fn read_message<T: DeserializeOwned>(stream: &mut TcpStream) -> std::io::Result<T> {
    Ok(serde_json::from_slice(&message(stream)?)?)
}

/// Reads what may nest as deep as a program does, on a stack of [`DEEP_STACK_BYTES`].
pub fn read_deep_message<T: DeserializeOwned>(stream: &mut TcpStream) -> std::io::Result<T> {
    let bytes = message(stream)?;
    if nesting(&bytes) > NESTING_MAX {
        return Err(std::io::Error::other("a message that nests so deep cannot be"));
    }
    let mut from = serde_json::Deserializer::from_slice(&bytes);
    from.disable_recursion_limit();
    Ok(T::deserialize(&mut from)?)
}

/// How deep the brackets of a JSON text nest.
fn nesting(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0, false, false);
    for b in json {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The bytes of the next message.
fn message(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(std::io::Error::other("a message of that length cannot be"));
    }
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}
