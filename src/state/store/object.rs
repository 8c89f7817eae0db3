//! A store in object storage that speaks S3: `s3://bucket/prefix`, at Amazon or any compatible endpoint.
//!
//! ```text
//! varpulis:checkpoints:0000000001-000000000007  ->  PREFIX/varpulis/checkpoints/0000000001-000000000007
//! ```
//!
//! The endpoint and the credentials come from the environment (`AWS_ENDPOINT_URL`, `AWS_REGION`,
//! `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN` …; roles of containers and
//! machines where those are missing) and from [`S3Options::settings`], which win.
//!
//! An object is written by one request, so it is seen whole or not at all. A request that fails in a way
//! that may pass is sent again, with growing random delays, until the call's time is over; what cannot
//! pass (no permission, no bucket) fails at once. Requests of one call are signed anew each time, so
//! credentials that are renewed meanwhile are picked up.
//!
//! `create` is a put on condition that there is no object. When the answer to one that succeeded is lost,
//! the next attempt finds the object there; a random token among the object's metadata tells that it
//! is the caller's own. That the service honours the condition is checked before the first `create`: some
//! ignore it, and two runs would then both believe to be the only one.
//!
//! A `put` that was given up by time may still arrive, even after a later one under the same name. Those
//! who need the order use names of their own, as segments and records do.
//!
//! The client is asynchronous: it runs on one thread of the store's own, and calls wait for it. Nothing
//! else here knows of that, nor of `object_store`.

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, ClientConfigKey, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    RetryConfig,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{StateStore, StoreError, check_name, is_part};
use crate::failpoint;

/// The metadata field that says who created an object.
const TOKEN: &str = "varpulis-create";
/// What is created to see whether the service honours conditions; no value's name is encoded to this.
const PROBE: &str = "~conditions";
/// A slower upload counts as stalled. What an attempt may take grows with the value by this.
const SLOWEST_BYTES_PER_S: u64 = 1 << 20;

/// What may be chosen of a store in object storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Options {
    /// How long a service may be silent before a request is given up and sent again.
    pub attempt_timeout: Duration,
    /// How long a call may take, all attempts together.
    pub call_timeout: Duration,
    /// Before the second attempt. It doubles up to `longest_delay`, and half of it is random.
    pub first_delay: Duration,
    pub longest_delay: Duration,
    /// `endpoint`, `region`, `access_key_id`, `secret_access_key` and others that the environment has with
    /// `AWS_` before them. One that is not known is an error.
    pub settings: Vec<(String, String)>,
}

impl Default for S3Options {
    fn default() -> Self {
        S3Options {
            attempt_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(300),
            first_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(10),
            settings: Vec::new(),
        }
    }
}

/// Named values as objects under a prefix of a bucket.
pub struct S3Store {
    shared: Arc<Shared>,
    thread: IoThread,
    /// Whether the service was seen to honour conditions.
    conditions_hold: AtomicBool,
}

/// What the requests under way need.
struct Shared {
    client: AmazonS3,
    /// `s3://bucket/prefix`.
    place: String,
    bucket: String,
    prefix: Path,
    options: S3Options,
}

/// What came of a put on a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
}

/// Why an attempt failed.
enum Failure {
    Service(Error),
    /// No byte came for that long.
    Stalled(Duration),
    /// The name was being created or deleted by another request.
    Conflict,
}

impl S3Store {
    /// Opens `s3://bucket/prefix` with what the environment says. The bucket must exist.
    pub fn open(address: &str) -> Result<S3Store, StoreError> {
        Self::open_with(address, S3Options::default())
    }

    pub fn open_with(address: &str, options: S3Options) -> Result<S3Store, StoreError> {
        let bad = |reason: String| StoreError::BadAddress { address: address.to_string(), reason };
        let (bucket, prefix) = split_address(address).ok_or_else(|| bad("not `s3://bucket/prefix`".to_string()))?;
        let client = client(bucket, &options).map_err(bad)?;
        let place = address.trim_end_matches('/').to_string();
        let thread = IoThread::start().map_err(|source| StoreError::Io { place: place.clone(), source })?;
        let shared = Arc::new(Shared { client, place, bucket: bucket.to_string(), prefix, options });
        let store = S3Store { shared, thread, conditions_hold: AtomicBool::new(false) };
        store.greet()?;
        Ok(store)
    }

    /// Asks the service for anything, so that a wrong address or missing rights are seen before a run begins. It has
    /// the time of one attempt alone: at a start, somebody is waiting.
    fn greet(&self) -> Result<(), StoreError> {
        let time = self.shared.options.attempt_timeout;
        self.call(time, self.shared.prefix.clone(), |shared| async move {
            let mut objects = shared.client.list(Some(&shared.prefix));
            match timed(shared.options.attempt_timeout, objects.next()).await? {
                None | Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(error.into()),
            }
        })
    }

    /// Runs attempts on the store's thread until one succeeds, fails for good, or `time` is over.
    fn call<T, F>(
        &self,
        time: Duration,
        path: Path,
        attempt: impl Fn(Arc<Shared>) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let shared = Arc::clone(&self.shared);
        self.thread.run(async move { shared.attempts(time, &path, attempt).await })
    }

    /// [`Self::call`] with the path of a value and the time that is configured.
    fn call_for<T, F>(
        &self,
        name: &str,
        attempt: impl Fn(Arc<Shared>, Path) -> F + Send + 'static,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        check_name(name)?;
        let path = self.shared.path_of(name);
        self.call(self.shared.options.call_timeout, path.clone(), move |shared| attempt(shared, path.clone()))
    }

    fn at(&self, source: io::Error) -> StoreError {
        StoreError::Io { place: self.place(), source }
    }

    /// Creates an object that is there, which must not succeed. It stays for the next time; its name is none
    /// of the store's.
    fn check_conditions(&self) -> Result<(), StoreError> {
        if self.conditions_hold.load(Ordering::Relaxed) {
            return Ok(());
        }
        let path = self.shared.prefix.clone().join(PROBE);
        let overwrote = self.call(self.shared.options.call_timeout, path.clone(), move |shared| {
            let path = path.clone();
            async move {
                shared.put(&path, Bytes::new(), PutMode::Overwrite, None).await?;
                shared.put(&path, Bytes::new(), PutMode::Create, None).await
            }
        })?;
        if overwrote == Outcome::Done {
            let reason = "it ignores `If-None-Match`, so nothing keeps two runs apart".to_string();
            return Err(StoreError::Backend { place: self.place(), reason });
        }
        self.conditions_hold.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl StateStore for S3Store {
    fn place(&self) -> String {
        self.shared.place.clone()
    }

    fn put(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        failpoint::hit("store.object.put").map_err(|error| self.at(error))?;
        let value = Bytes::copy_from_slice(value);
        self.call_for(name, move |shared, path| {
            let value = value.clone();
            async move { shared.put(&path, value, PutMode::Overwrite, None).await }
        })?;
        failpoint::hit("store.object.put.done").map_err(|error| self.at(error))
    }

    fn create(&self, name: &str, value: &[u8]) -> Result<bool, StoreError> {
        check_name(name)?;
        failpoint::hit("store.object.create").map_err(|error| self.at(error))?;
        self.check_conditions()?;
        let (value, token) = (Bytes::copy_from_slice(value), new_token());
        let created = self.call_for(name, move |shared, path| {
            let (value, token) = (value.clone(), token.clone());
            async move { shared.create(&path, value, &token).await }
        })?;
        failpoint::hit("store.object.create.done").map_err(|error| self.at(error))?;
        Ok(created)
    }

    fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.call_for(name, |shared, path| async move { shared.get(&path).await })
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        failpoint::hit("store.object.delete").map_err(|error| self.at(error))?;
        self.call_for(name, |shared, path| async move {
            match timed(shared.options.attempt_timeout, shared.client.delete(&path)).await? {
                Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })?;
        failpoint::hit("store.object.delete.done").map_err(|error| self.at(error))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        // The service is asked for the folder that all these names are in.
        let folder = prefix.rsplit_once(':').map_or("", |(folder, _)| folder);
        if !folder.is_empty() && check_name(folder).is_err() {
            return Ok(Vec::new());
        }
        let folder = if folder.is_empty() { self.shared.prefix.clone() } else { self.shared.path_of(folder) };
        let mut names = self.call(self.shared.options.call_timeout, folder.clone(), move |shared| {
            let folder = folder.clone();
            async move { shared.list(&folder).await }
        })?;
        names.retain(|name| name.starts_with(prefix));
        names.sort_unstable();
        Ok(names)
    }
}

impl Shared {
    fn path_of(&self, name: &str) -> Path {
        name.split(':').fold(self.prefix.clone(), |path, part| path.join(part))
    }

    async fn attempts<T, F>(
        self: &Arc<Self>,
        time: Duration,
        path: &Path,
        attempt: impl Fn(Arc<Shared>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = Instant::now() + time;
        let mut delay = self.options.first_delay;
        for number in 1u32.. {
            let failure = match timeout_at(deadline, attempt(Arc::clone(self))).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Stalled(time),
            };
            let place = format!("s3://{}/{path}", self.bucket);
            if let Failure::Service(error) = &failure
                && let Some(lasting) = lasting(&place, error)
            {
                return Err(lasting);
            }
            let wait = delay / 2 + random_part(delay / 2);
            if Instant::now() + wait >= deadline {
                let reason = format!("given up after {number} attempts in {time:?}: {failure}");
                return Err(StoreError::Io { place, source: io::Error::new(io::ErrorKind::TimedOut, reason) });
            }
            sleep(wait).await;
            delay = (delay * 2).min(self.options.longest_delay);
        }
        unreachable!("the deadline comes before 2^32 attempts")
    }

    /// Puts an object, if the mode's condition holds.
    async fn put(&self, path: &Path, value: Bytes, mode: PutMode, token: Option<&str>) -> Result<Outcome, Failure> {
        let time = self.options.attempt_timeout + Duration::from_secs(value.len() as u64 / SLOWEST_BYTES_PER_S);
        let mut attributes = Attributes::new();
        if let Some(token) = token {
            attributes.insert(Attribute::Metadata(TOKEN.into()), token.to_string().into());
        }
        let options = PutOptions { mode, attributes, ..PutOptions::default() };
        match timed(time, self.client.put_opts(path, value.into(), options)).await? {
            Ok(_) => Ok(Outcome::Done),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Outcome::Refused),
            Err(error) => Err(error.into()),
        }
    }

    async fn create(&self, path: &Path, value: Bytes, token: &str) -> Result<bool, Failure> {
        let put = self.put(path, value, PutMode::Create, Some(token)).await;
        if matches!(put, Ok(Outcome::Done)) {
            return Ok(true);
        }
        // The object is another's, or ours by an attempt whose answer was lost. A failure may mean the
        // same: services refuse before they have read a large value, and close the connection.
        let options = GetOptions { head: true, ..GetOptions::default() };
        match timed(self.options.attempt_timeout, self.client.get_opts(path, options)).await? {
            Ok(found) => Ok(found.attributes.get(&Attribute::Metadata(TOKEN.into())).is_some_and(|t| **t == *token)),
            // Services also refuse while another request for the name is under way, which may fail.
            Err(Error::NotFound { .. }) => put.and(Err(Failure::Conflict)),
            Err(error) => put.and(Err(error.into())),
        }
    }

    async fn get(&self, path: &Path) -> Result<Option<Vec<u8>>, Failure> {
        let silence = self.options.attempt_timeout;
        let found = match timed(silence, self.client.get(path)).await? {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut value = BytesMut::with_capacity(found.meta.size as usize);
        let mut chunks = found.into_stream();
        while let Some(chunk) = timed(silence, chunks.try_next()).await?? {
            value.extend_from_slice(&chunk);
        }
        Ok(Some(value.into()))
    }

    /// All names in a folder and those below it, in the service's order.
    async fn list(&self, folder: &Path) -> Result<Vec<String>, Failure> {
        let mut names = Vec::new();
        let mut objects = self.client.list(Some(folder));
        while let Some(object) = timed(self.options.attempt_timeout, objects.try_next()).await?? {
            let Some(parts) = object.location.prefix_match(&self.prefix) else { continue };
            let parts: Vec<String> = parts.map(|part| part.as_ref().to_string()).collect();
            // Others may have put objects there too.
            if parts.iter().all(|part| is_part(part)) {
                names.push(parts.join(":"));
            }
        }
        Ok(names)
    }
}

/// The thread that the client runs on.
struct IoThread {
    runtime: Handle,
    /// Dropped to end it.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl IoThread {
    fn start() -> io::Result<IoThread> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let serve = move || drop(runtime.block_on(stopped));
        let thread = std::thread::Builder::new().name("varpulis-s3".to_string()).spawn(serve)?;
        Ok(IoThread { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a future on the thread, and waits for it.
    fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (answer, answered) = sync_channel(1);
        self.runtime.spawn(async move { drop(answer.send(future.await)) });
        answered.recv().expect("the thread lives as long as the store, and no request panics")
    }
}

impl Drop for IoThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say at its end.
            let _ = thread.join();
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Service(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Service(error) => write!(f, "{error}"),
            Failure::Stalled(silence) => write!(f, "no answer for {silence:?}"),
            Failure::Conflict => f.write_str("another request for the same name is under way"),
        }
    }
}

/// `s3://bucket/a/b` as bucket and prefix.
fn split_address(address: &str) -> Option<(&str, Path)> {
    let rest = address.strip_prefix("s3://")?.trim_end_matches('/');
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = prefix.is_empty() || prefix.split('/').all(is_part);
    (is_part(bucket) && is_plain).then(|| (bucket, prefix.split('/').filter(|part| !part.is_empty()).collect()))
}

/// The client. What is set here is set before the environment and the caller's settings, which win; but
/// attempts are counted and timed by [`Shared::attempts`] alone.
fn client(bucket: &str, options: &S3Options) -> Result<AmazonS3, String> {
    // The TLS library is built without a default, which would need one more C library. A second call
    // is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let of_client = AmazonS3ConfigKey::Client;
    let mut builder = AmazonS3Builder::new()
        .with_config(of_client(ClientConfigKey::ConnectTimeout), "5 seconds")
        .with_config(of_client(ClientConfigKey::Timeout), "1 day");
    for (key, value) in std::env::vars().filter(|(key, _)| key.starts_with("AWS_")) {
        // Other programs have variables of this form too.
        if let Ok(key) = AmazonS3ConfigKey::from_str(&key.to_ascii_lowercase()) {
            builder = builder.with_config(key, value);
        }
    }
    for (key, value) in &options.settings {
        let key = AmazonS3ConfigKey::from_str(&key.to_ascii_lowercase()).map_err(|error| error.to_string())?;
        builder = builder.with_config(key, value);
    }
    let endpoint = builder.get_config_value(&AmazonS3ConfigKey::Endpoint);
    // Whoever writes `http:` means it.
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http:")) {
        builder = builder.with_allow_http(true);
    }
    let builder = builder
        .with_bucket_name(bucket)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_disable_bulk_delete(true);
    builder.build().map_err(|error| error.to_string())
}

/// Waits for a request, but not longer than the service may be silent.
async fn timed<T>(silence: Duration, request: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(silence, request).await.map_err(|_| Failure::Stalled(silence))
}

/// An error that sending the request again would not help.
fn lasting(place: &str, error: &Error) -> Option<StoreError> {
    let (place, reason) = (place.to_string(), error.to_string());
    let io = |kind| StoreError::Io { place: place.clone(), source: io::Error::new(kind, reason.clone()) };
    match (error, status(&reason)) {
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => {
            Some(io(io::ErrorKind::PermissionDenied))
        }
        // A session that has ended, and an upload that was too slow, are both 400.
        (_, Some(400)) if reason.contains("ExpiredToken") => Some(io(io::ErrorKind::PermissionDenied)),
        (_, Some(400)) if reason.contains("RequestTimeout") => None,
        // Of objects it is an answer; this is the bucket.
        (Error::NotFound { .. }, _) | (_, Some(404)) => Some(io(io::ErrorKind::NotFound)),
        // Another request is in the way, or the service has too much to do.
        (_, Some(408 | 409 | 425 | 429)) => None,
        (_, Some(400..500)) => Some(StoreError::Backend { place, reason }),
        // Servers in trouble, and connections that break.
        (Error::Generic { .. }, _) => None,
        // What is left says that the request is wrong. The type is another crate's, and open.
        (_, _) => Some(StoreError::Backend { place, reason }),
    }
}

/// The status that the service answered with. `object_store` tells it in words alone where a list failed; if
/// it changes them, what cannot pass is tried until the time is over.
fn status(reason: &str) -> Option<u16> {
    reason.split_once("status code: ")?.1.get(..3)?.parse().ok()
}

/// Random, up to `most`: processes that failed together shall not come back together.
fn random_part(most: Duration) -> Duration {
    most.mul_f64(random() as f64 / u64::MAX as f64)
}

fn new_token() -> String {
    format!("{:016x}{:016x}", random(), random())
}

/// The standard library seeds its hashers from the system's random numbers.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
