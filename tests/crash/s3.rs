//! A server of the S3 protocol, over files, behind a proxy that breaks connections in every way a network
//! and a service have. The tests of the stores use it, too.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
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

pub const BUCKET: &str = "bucket";
pub const SECRET: &str = "not much of a secret";

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is ever answered.
    Silence,
    /// The service takes so many milliseconds before it does anything.
    Slow(u64),
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

/// What makes a request fail, one of each; the first takes a client's whole patience.
pub const FAULTS: [Fault; 7] = [
    Fault::Silence,
    Fault::Status500,
    Fault::Reset,
    Fault::CutRequest(100),
    Fault::CutRequest(100_000),
    Fault::LoseAnswer,
    Fault::CutAnswer(20),
];

#[derive(Default)]
struct Behaviour {
    /// For the connections to come, one each.
    faults: Mutex<VecDeque<Fault>>,
    /// For all after them.
    always: Mutex<Option<Fault>>,
    keys_are_refused: AtomicBool,
    conditions_are_ignored: AtomicBool,
}

/// A server with an empty bucket.
pub struct Server {
    pub address: SocketAddr,
    behaviour: Arc<Behaviour>,
    _folder: TempDir,
    _runtime: Runtime,
}

impl Server {
    pub fn start() -> Server {
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
                let next = behaviour_of_proxy.faults.lock().unwrap().pop_front();
                let fault = next.or(*behaviour_of_proxy.always.lock().unwrap());
                tokio::spawn(async move { drop(pass(connection, upstream, fault).await) });
            }
        });
        Server { address, behaviour, _folder: folder, _runtime: runtime }
    }

    /// What the connections to come are in for, one each.
    pub fn expect(&self, faults: &[Fault]) {
        self.behaviour.faults.lock().unwrap().extend(faults);
    }

    /// Whether all expected faults have happened.
    pub fn is_calm(&self) -> bool {
        self.behaviour.faults.lock().unwrap().is_empty()
    }

    /// What all connections are in for, from now on.
    pub fn always(&self, fault: Option<Fault>) {
        *self.behaviour.always.lock().unwrap() = fault;
    }

    pub fn refuse_keys(&self, refuse: bool) {
        self.behaviour.keys_are_refused.store(refuse, Ordering::Relaxed);
    }

    pub fn ignore_conditions(&self) {
        self.behaviour.conditions_are_ignored.store(true, Ordering::Relaxed);
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
        Some(Fault::Slow(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
        Some(Fault::CutRequest(_) | Fault::LoseAnswer | Fault::CutAnswer(_)) | None => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    let (mut upward, mut downward) = match fault {
        None | Some(Fault::Slow(_)) => return copy_bidirectional(&mut client, &mut server).await.map(drop),
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
