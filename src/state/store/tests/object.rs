//! Object storage: a real server of the S3 protocol, over files, behind a proxy that breaks connections in
//! every way a network and a service have.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder as Connections;
use s3s::auth::{S3Auth, SecretKey};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result, dto, s3_error};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use super::*;

const BUCKET: &str = "bucket";
const SECRET: &str = "not much of a secret";

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing is ever answered.
    Silence,
    /// The service says that it has trouble.
    Status500,
    Reset,
    /// The connection breaks when that many bytes of the request have passed.
    CutRequest(usize),
    /// The service gets everything, and the connection breaks before its answer.
    LoseAnswer,
    /// The connection breaks when that many bytes of the answer have passed.
    CutAnswer(usize),
}

#[derive(Default)]
struct Behaviour {
    /// For the connections to come, one each; after them all is well.
    faults: Mutex<VecDeque<Fault>>,
    keys_are_refused: AtomicBool,
    conditions_are_ignored: AtomicBool,
}

/// A server with an empty bucket.
pub(super) struct Server {
    address: SocketAddr,
    behaviour: Arc<Behaviour>,
    _folder: TempDir,
    _runtime: Runtime,
}

impl Server {
    pub(super) fn start() -> Server {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join(BUCKET)).unwrap();
        let behaviour = Arc::<Behaviour>::default();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let bucket = Bucket { files, behaviour: behaviour.clone(), putting: tokio::sync::Mutex::default() };
        let mut service = S3ServiceBuilder::new(bucket);
        service.set_auth(Keys(behaviour.clone()));
        let service = service.build();

        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let bind = || runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let (inner, outer) = (bind(), bind());
        let (upstream, address) = (inner.local_addr().unwrap(), outer.local_addr().unwrap());
        runtime.spawn(async move {
            while let Ok((connection, _)) = inner.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let connections = Connections::new(TokioExecutor::new());
                    // A connection that was broken on purpose.
                    drop(connections.serve_connection(TokioIo::new(connection), service).await);
                });
            }
        });
        let behaviour_of_proxy = behaviour.clone();
        runtime.spawn(async move {
            while let Ok((connection, _)) = outer.accept().await {
                let fault = behaviour_of_proxy.faults.lock().unwrap().pop_front();
                tokio::spawn(async move { drop(pass(connection, upstream, fault).await) });
            }
        });
        Server { address, behaviour, _folder: folder, _runtime: runtime }
    }

    fn options(&self) -> S3Options {
        let settings = [
            ("endpoint", format!("http://{}", self.address)),
            ("region", "nowhere-1".to_string()),
            ("access_key_id", "somebody".to_string()),
            ("secret_access_key", SECRET.to_string()),
            // So that every request has a connection of its own, and a fault hits one.
            ("pool_max_idle_per_host", "0".to_string()),
        ];
        S3Options {
            attempt_timeout: Duration::from_secs(2),
            call_timeout: Duration::from_secs(120),
            first_delay: Duration::from_millis(1),
            settings: settings.map(|(key, value)| (key.to_string(), value)).to_vec(),
            ..S3Options::default()
        }
    }

    pub(super) fn open(&self, prefix: &str) -> S3Store {
        S3Store::open_with(&format!("s3://{BUCKET}/{prefix}"), self.options()).unwrap()
    }

    fn expect(&self, faults: &[Fault]) {
        self.behaviour.faults.lock().unwrap().extend(faults);
    }

    /// Whether all faults have happened.
    fn is_calm(&self) -> bool {
        self.behaviour.faults.lock().unwrap().is_empty()
    }
}

/// Passes a connection on, as far as its fault lets it.
async fn pass(mut client: TcpStream, upstream: SocketAddr, fault: Option<Fault>) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    match fault {
        Some(Fault::Silence) => {
            while client.read(&mut buffer).await? > 0 {}
            return Ok(());
        }
        Some(Fault::Status500) => {
            if client.read(&mut buffer).await? == 0 {
                return Ok(());
            }
            client.write_all(b"HTTP/1.1 500 Trouble\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
            while client.read(&mut buffer).await? > 0 {}
            return Ok(());
        }
        // What is left unread makes the system reset the connection.
        Some(Fault::Reset) => return client.read(&mut buffer[..1]).await.map(drop),
        Some(Fault::CutRequest(_) | Fault::LoseAnswer | Fault::CutAnswer(_)) | None => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    let (mut upward, mut downward) = match fault {
        None => return copy_bidirectional(&mut client, &mut server).await.map(drop),
        Some(Fault::CutRequest(bytes)) => (bytes, usize::MAX),
        Some(Fault::LoseAnswer) => (usize::MAX, 0),
        Some(Fault::CutAnswer(bytes)) => (usize::MAX, bytes),
        Some(Fault::Silence | Fault::Status500 | Fault::Reset) => unreachable!("they are over"),
    };
    let mut answer = vec![0; 16 << 10];
    loop {
        tokio::select! {
            read = client.read(&mut buffer) => {
                let read = read?.min(upward);
                server.write_all(&buffer[..read]).await?;
                upward -= read;
                if read == 0 || upward == 0 { return Ok(()) }
            }
            read = server.read(&mut answer) => {
                let read = read?.min(downward);
                client.write_all(&answer[..read]).await?;
                downward -= read;
                if read == 0 || downward == 0 { return Ok(()) }
            }
        }
    }
}

struct Keys(Arc<Behaviour>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, _: &str) -> S3Result<SecretKey> {
        match self.0.keys_are_refused.load(Ordering::Relaxed) {
            true => Err(s3_error!(InvalidAccessKeyId)),
            false => Ok(SECRET.into()),
        }
    }
}

/// The files, with what they lack of a real service: conditions that hold under concurrency. Lists come in
/// short pages, so that every test with some names turns pages.
struct Bucket {
    files: s3s_fs::FileSystem,
    behaviour: Arc<Behaviour>,
    putting: tokio::sync::Mutex<()>,
}

#[async_trait::async_trait]
impl S3 for Bucket {
    async fn put_object(
        &self,
        mut request: S3Request<dto::PutObjectInput>,
    ) -> S3Result<S3Response<dto::PutObjectOutput>> {
        if self.behaviour.conditions_are_ignored.load(Ordering::Relaxed) {
            request.input.if_none_match = None;
        }
        let _putting = match request.input.if_none_match {
            Some(_) => Some(self.putting.lock().await),
            None => None,
        };
        self.files.put_object(request).await
    }

    async fn list_objects_v2(
        &self,
        mut request: S3Request<dto::ListObjectsV2Input>,
    ) -> S3Result<S3Response<dto::ListObjectsV2Output>> {
        request.input.max_keys = Some(3);
        self.files.list_objects_v2(request).await
    }

    async fn get_object(&self, request: S3Request<dto::GetObjectInput>) -> S3Result<S3Response<dto::GetObjectOutput>> {
        self.files.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<dto::HeadObjectInput>,
    ) -> S3Result<S3Response<dto::HeadObjectOutput>> {
        self.files.head_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<dto::DeleteObjectInput>,
    ) -> S3Result<S3Response<dto::DeleteObjectOutput>> {
        self.files.delete_object(request).await
    }
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> ErrorKind {
    match outcome {
        Err(StoreError::Io { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    }
}

const FAULTS: [Fault; 7] = [
    Fault::Silence,
    Fault::Status500,
    Fault::Reset,
    Fault::CutRequest(100),
    Fault::CutRequest(100_000),
    Fault::LoseAnswer,
    Fault::CutAnswer(20),
];

#[test]
fn every_call_survives_every_fault() {
    let server = Server::start();
    let options = S3Options { attempt_timeout: Duration::from_millis(500), ..server.options() };
    let store = S3Store::open_with("s3://bucket/faults", options).unwrap();
    let value: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    for (number, fault) in FAULTS.into_iter().enumerate() {
        let (name, created) = (format!("put:{number}"), format!("created:{number}"));
        let uploads = |call: &dyn Fn()| {
            server.expect(&[fault, fault]);
            call();
            assert!(server.is_calm(), "{fault:?}");
        };
        // A request without a body is too short for one of the faults.
        let asks = |call: &dyn Fn()| if fault == Fault::CutRequest(100_000) { call() } else { uploads(call) };
        uploads(&|| store.put(&name, &value).unwrap());
        uploads(&|| assert!(store.create(&created, &value).unwrap(), "{fault:?}"));
        uploads(&|| assert!(!store.create(&created, &value).unwrap(), "{fault:?}"));
        asks(&|| assert!(store.get(&name).unwrap().as_ref() == Some(&value)));
        asks(&|| assert_eq!(store.list("put:").unwrap(), [name.as_str()]));
        asks(&|| store.delete(&name).unwrap());
        assert_eq!(store.get(&name).unwrap(), None);
        server.expect(&[Fault::CutAnswer(100_000)]);
        assert!(store.get(&created).unwrap().as_ref() == Some(&value));
    }
}

/// What breaks off in the middle is not there, not even its beginning.
#[test]
fn a_partial_upload_is_not_seen() {
    let server = Server::start();
    let options = S3Options { call_timeout: Duration::ZERO, ..server.options() };
    let store = S3Store::open_with("s3://bucket/cut", options).unwrap();
    server.open("cut").put("a", b"old").unwrap();
    for name in ["a", "b"] {
        server.expect(&[Fault::CutRequest(500_000)]);
        assert_eq!(kind(store.put(name, &[7; 1_000_000])), ErrorKind::TimedOut);
    }
    let store = server.open("cut");
    assert_eq!(store.list("").unwrap(), ["a"]);
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"old"[..]));
}

/// The answer to the `create` that succeeded is lost; another process comes in between.
#[test]
fn a_create_knows_its_own_object() {
    let server = Server::start();
    let (one, other) = (server.open("own"), server.open("own"));
    server.expect(&[Fault::LoseAnswer]);
    assert!(one.create("a", b"same").unwrap());
    server.expect(&[Fault::LoseAnswer]);
    assert!(!other.create("a", b"same").unwrap(), "the same value is no proof");
    assert!(!one.create("a", b"same").unwrap(), "nor is the same store");
    one.put("b", b"put").unwrap();
    assert!(!one.create("b", b"put").unwrap(), "an object without a token is another's");
}

#[test]
fn lost_credentials_are_an_error_at_once() {
    let server = Server::start();
    let store = server.open("keys");
    store.put("a", b"1").unwrap();
    server.behaviour.keys_are_refused.store(true, Ordering::Relaxed);
    assert_eq!(kind(store.put("a", b"2")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.create("b", b"2")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.get("a")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.list("")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.delete("a")), ErrorKind::PermissionDenied);
    let again = S3Store::open_with("s3://bucket/keys", server.options());
    assert_eq!(kind(again.map(drop)), ErrorKind::PermissionDenied);
    server.behaviour.keys_are_refused.store(false, Ordering::Relaxed);
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_call_ends_when_its_time_is_over() {
    let server = Server::start();
    let options = S3Options { call_timeout: Duration::from_millis(50), ..server.options() };
    let store = S3Store::open_with("s3://bucket/slow", options).unwrap();
    server.expect(&[Fault::Silence; 100]);
    let outcome = store.put("a", b"1");
    let Err(error) = &outcome else { panic!("{outcome:?}") };
    assert!(error.to_string().starts_with("s3://bucket/slow/a: given up after 1 attempts"), "{error}");
    assert_eq!(kind(outcome), ErrorKind::TimedOut);
    drop(server);
    assert_eq!(kind(store.get("a")), ErrorKind::TimedOut);
}

#[test]
fn a_service_without_conditions_is_refused() {
    let server = Server::start();
    server.behaviour.conditions_are_ignored.store(true, Ordering::Relaxed);
    let store = server.open("loose");
    let refused = store.create("a", b"1");
    assert!(
        matches!(&refused, Err(StoreError::Backend { reason, .. }) if reason.contains("If-None-Match")),
        "{refused:?}"
    );
}

#[test]
fn wrong_addresses_are_refused() {
    let server = Server::start();
    for wrong in
        ["bucket/a", "http://bucket/a", "s3://", "s3:///a", "s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/a?b"]
    {
        let opened = S3Store::open_with(wrong, server.options());
        assert!(matches!(opened.map(drop), Err(StoreError::BadAddress { .. })), "{wrong}");
    }
    let mut options = server.options();
    options.settings.push(("colour".to_string(), "red".to_string()));
    assert!(matches!(S3Store::open_with("s3://bucket", options).map(drop), Err(StoreError::BadAddress { .. })));
    let opened = S3Store::open_with("s3://another-bucket/a", server.options());
    assert_eq!(kind(opened.map(drop)), ErrorKind::NotFound);
}

/// TLS has to be set up by hand; that it is shows in that the attempt fails at the server, which has none.
#[test]
fn tls_is_there() {
    let server = Server::start();
    let mut options = S3Options { attempt_timeout: Duration::from_millis(500), ..server.options() };
    options.settings[0].1 = format!("https://{}", server.address);
    let opened = S3Store::open_with("s3://bucket/a", options).map(drop);
    assert_eq!(kind(opened), ErrorKind::TimedOut);
}

/// Stores under one bucket do not see each other's values, nor what others have put there.
#[test]
fn a_prefix_is_all_that_a_store_sees() {
    let server = Server::start();
    let (all, inner, other) = (server.open(""), server.open("in/ner"), server.open("in/nerve"));
    inner.put("a:b", b"1").unwrap();
    other.put("a:b", b"2").unwrap();
    assert_eq!(inner.list("").unwrap(), ["a:b"]);
    assert_eq!(inner.get("a:b").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(all.list("").unwrap(), ["in:ner:a:b", "in:nerve:a:b"]);
    assert_eq!(all.list("in:ner").unwrap().len(), 2);
    assert_eq!(all.list("in:ner:").unwrap(), ["in:ner:a:b"]);
}
