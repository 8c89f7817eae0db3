//! What the processes of a run say to each other outside of the dataflow, and who notices that one of them
//! is gone.
//!
//! The first process has a connection to each of the others. Over it go the plan at the beginning and the
//! report at the end, and all the time in between a word every few seconds: a process from which
//! nothing is heard for long, or whose connection breaks, is lost, and the run with it, since its share
//! of state and input is nobody else's. The first process tells the others which one it was.
//!
//! A process that has nothing more to say before it goes says so, and is not missed.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::cluster::{DEEP_STACK_BYTES, read_deep_message, write_message};

/// How often a process says that it is there.
const BEAT: Duration = Duration::from_secs(5);
/// How long nothing may be heard of a process.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long who finds a connection of another kind broken waits for the word which process is gone.
pub const WORD_GRACE: Duration = Duration::from_secs(5);

/// A process that is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("process {process} at {address} is gone ({reason}); the run ends in all processes")]
pub struct Lost {
    pub process: usize,
    pub address: String,
    pub reason: String,
}

/// What is done when a process is lost. Nothing can go on, so it ends this process, too.
pub type OnLost = Arc<dyn Fn(&Lost) + Send + Sync>;

#[derive(Debug, Serialize, Deserialize)]
enum Word {
    Value(serde_json::Value),
    Alive,
    Lost {
        process: usize,
        reason: String,
    },
    /// The sender has nothing more to say, and will go.
    Bye,
}

/// The connections of one process, and those who listen to them.
pub struct Control {
    links: Arc<Vec<Link>>,
    inbox: Receiver<(usize, serde_json::Value)>,
    is_over: Arc<AtomicBool>,
}

/// A connection to another process.
struct Link {
    process: usize,
    stream: Mutex<TcpStream>,
}

impl Link {
    fn say(&self, word: &Word) -> io::Result<()> {
        write_message(&mut self.stream.lock().unwrap_or_else(PoisonError::into_inner), word)
    }
}

/// How patient a process is.
#[derive(Clone, Copy)]
struct Patience {
    beat: Duration,
    silence_max: Duration,
}

impl Control {
    /// Listens to the connections, each with the number of the process at its other end. `addresses` are
    /// those of all processes.
    pub fn new(streams: Vec<(usize, TcpStream)>, addresses: &[String], on_lost: OnLost) -> io::Result<Control> {
        Self::with_patience(streams, addresses, on_lost, Patience { beat: BEAT, silence_max: SILENCE_MAX })
    }

    fn with_patience(
        streams: Vec<(usize, TcpStream)>,
        addresses: &[String],
        on_lost: OnLost,
        patience: Patience,
    ) -> io::Result<Control> {
        let is_over = Arc::<AtomicBool>::default();
        let (sender, inbox) = channel();
        let mut readers = Vec::new();
        let mut links = Vec::new();
        for (process, stream) in streams {
            stream.set_read_timeout(Some(patience.silence_max))?;
            readers.push(stream.try_clone()?);
            links.push(Link { process, stream: Mutex::new(stream) });
        }
        let links = Arc::new(links);
        for (index, stream) in readers.into_iter().enumerate() {
            let watcher = Watcher {
                links: links.clone(),
                index,
                addresses: addresses.to_vec(),
                is_over: is_over.clone(),
                on_lost: on_lost.clone(),
            };
            let sender = sender.clone();
            let thread = std::thread::Builder::new().name("watch".to_string()).stack_size(DEEP_STACK_BYTES);
            thread.spawn(move || watcher.listen(stream, sender))?;
        }
        let (beating, is_done) = (links.clone(), is_over.clone());
        std::thread::Builder::new().name("beat".to_string()).spawn(move || {
            while !is_done.load(Ordering::Relaxed) {
                // One that is gone is noticed by who listens to it.
                beating.iter().for_each(|link| drop(link.say(&Word::Alive)));
                std::thread::sleep(patience.beat);
            }
        })?;
        Ok(Control { links, inbox, is_over })
    }

    /// Says a value to all that there is a connection to.
    pub fn tell<T: Serialize>(&self, value: &T) -> io::Result<()> {
        let word = Word::Value(serde_json::to_value(value)?);
        self.links.iter().try_for_each(|link| link.say(&word))
    }

    /// A value that was told, and by whom.
    pub fn hear<T: DeserializeOwned>(&self) -> io::Result<(usize, T)> {
        let gone = |_| io::Error::new(io::ErrorKind::UnexpectedEof, "nobody is there to say it");
        let (process, value) = self.inbox.recv().map_err(gone)?;
        Ok((process, serde_json::from_value(value)?))
    }

    /// How many others there is a connection to.
    pub fn others(&self) -> usize {
        self.links.len()
    }

    /// Nobody is missed from here on, and nobody shall miss this process.
    pub fn part(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Who is gone already has no ear for it.
        self.links.iter().for_each(|link| drop(link.say(&Word::Bye)));
    }
}

/// Listens to one process.
struct Watcher {
    links: Arc<Vec<Link>>,
    index: usize,
    addresses: Vec<String>,
    is_over: Arc<AtomicBool>,
    on_lost: OnLost,
}

impl Watcher {
    fn listen(self, mut stream: TcpStream, inbox: Sender<(usize, serde_json::Value)>) {
        let process = self.links[self.index].process;
        loop {
            match read_deep_message::<Word>(&mut stream) {
                Ok(Word::Alive) => {}
                Ok(Word::Value(value)) => {
                    if inbox.send((process, value)).is_err() {
                        return;
                    }
                }
                Ok(Word::Lost { process, reason }) => return self.lose(process, reason),
                Ok(Word::Bye) => return,
                Err(error) => {
                    let reason = match error.kind() {
                        io::ErrorKind::UnexpectedEof => "its connection was closed".to_string(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it does not answer".to_string(),
                        _ => error.to_string(),
                    };
                    return self.lose(process, reason);
                }
            }
        }
    }

    fn lose(&self, process: usize, reason: String) {
        if self.is_over.swap(true, Ordering::Relaxed) {
            return;
        }
        let word = Word::Lost { process, reason: reason.clone() };
        let others = self.links.iter().filter(|link| link.process != process);
        // Those that are gone as well need not hear it.
        others.for_each(|link| drop(link.say(&word)));
        let address = self.addresses.get(process).cloned().unwrap_or_default();
        (self.on_lost)(&Lost { process, address, reason });
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Both ends of a connection.
    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    const ADDRESSES: [&str; 3] = ["a:1", "b:1", "c:1"];

    fn control(streams: Vec<(usize, TcpStream)>, silence_ms: u64) -> (Control, Receiver<Lost>) {
        let (sender, lost) = channel();
        let on_lost: OnLost = Arc::new(move |l: &Lost| sender.send(l.clone()).unwrap());
        let patience = Patience { beat: Duration::from_millis(5), silence_max: Duration::from_millis(silence_ms) };
        let addresses = ADDRESSES.map(str::to_string);
        (Control::with_patience(streams, &addresses, on_lost, patience).unwrap(), lost)
    }

    #[test]
    fn the_first_notices_who_is_gone_and_tells_the_others() {
        let ((a, b), (c, d)) = (pair(), pair());
        let (_first, lost_of_first) = control(vec![(1, a), (2, c)], 10_000);
        let (_second, lost_of_second) = control(vec![(0, b)], 10_000);
        drop(d);
        let lost = lost_of_first.recv().unwrap();
        assert_eq!((lost.process, lost.address.as_str()), (2, "c:1"));
        assert_eq!(lost_of_second.recv().unwrap(), lost);
    }

    #[test]
    fn who_says_nothing_is_gone() {
        let (a, _b) = pair();
        let (_first, lost) = control(vec![(1, a)], 20);
        assert_eq!(lost.recv().unwrap().reason, "it does not answer");
    }

    /// Expressions and patterns of a plan nest deeper than JSON is read by default.
    #[test]
    fn values_may_nest_as_deep_as_programs() {
        let (a, b) = pair();
        let (first, _lost_of_first) = control(vec![(1, a)], 10_000);
        let (second, _lost_of_second) = control(vec![(0, b)], 10_000);
        let deep = (0..500).fold(serde_json::json!(1), |inner, _| serde_json::json!({ "]": [inner] }));
        first.tell(&deep).unwrap();
        assert_eq!(second.hear::<serde_json::Value>().unwrap(), (0, deep));
    }

    #[test]
    fn values_arrive_and_who_parts_is_not_missed() {
        let (a, b) = pair();
        let (first, lost_of_first) = control(vec![(1, a)], 10_000);
        let (second, lost_of_second) = control(vec![(0, b)], 10_000);
        first.tell(&"plan").unwrap();
        assert_eq!(second.hear::<String>().unwrap(), (0, "plan".to_string()));
        second.tell(&7).unwrap();
        second.part();
        assert_eq!(first.hear::<u32>().unwrap(), (1, 7));
        drop(second);
        // Who listened is through, so nothing can come any more.
        assert!(first.hear::<u32>().is_err());
        assert!(lost_of_first.try_recv().is_err());
        first.part();
        drop(first);
        assert!(lost_of_second.try_recv().is_err());
    }
}
