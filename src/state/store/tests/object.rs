//! Object storage, against a real server of its protocol that has every trouble there is.

#[path = "../../../../tests/crash/s3.rs"]
mod s3;

use std::io::ErrorKind;
use std::time::Duration;

pub(super) use s3::Server;
use s3::{BUCKET, FAULTS, Fault, SECRET};

use super::*;

fn options_of(server: &Server) -> S3Options {
    let settings = [
        ("endpoint", format!("http://{}", server.address)),
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

pub(super) fn open(server: &Server, prefix: &str) -> S3Store {
    S3Store::open_with(&format!("s3://{BUCKET}/{prefix}"), options_of(server)).unwrap()
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> ErrorKind {
    match outcome {
        Err(StoreError::Io { source, .. }) => source.kind(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_call_survives_every_fault() {
    let server = Server::start();
    let options = S3Options { attempt_timeout: Duration::from_millis(500), ..options_of(&server) };
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
    let options = S3Options { call_timeout: Duration::ZERO, ..options_of(&server) };
    let store = S3Store::open_with("s3://bucket/cut", options).unwrap();
    open(&server, "cut").put("a", b"old").unwrap();
    for name in ["a", "b"] {
        server.expect(&[Fault::CutRequest(500_000)]);
        assert_eq!(kind(store.put(name, &[7; 1_000_000])), ErrorKind::TimedOut);
    }
    let store = open(&server, "cut");
    assert_eq!(store.list("").unwrap(), ["a"]);
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"old"[..]));
}

/// The answer to the `create` that succeeded is lost; another process comes in between.
#[test]
fn a_create_knows_its_own_object() {
    let server = Server::start();
    let (one, other) = (open(&server, "own"), open(&server, "own"));
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
    let store = open(&server, "keys");
    store.put("a", b"1").unwrap();
    server.refuse_keys(true);
    assert_eq!(kind(store.put("a", b"2")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.create("b", b"2")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.get("a")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.list("")), ErrorKind::PermissionDenied);
    assert_eq!(kind(store.delete("a")), ErrorKind::PermissionDenied);
    let again = S3Store::open_with("s3://bucket/keys", options_of(&server));
    assert_eq!(kind(again.map(drop)), ErrorKind::PermissionDenied);
    server.refuse_keys(false);
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_call_ends_when_its_time_is_over() {
    let server = Server::start();
    let options = S3Options { call_timeout: Duration::from_millis(50), ..options_of(&server) };
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
fn a_slow_service_is_waited_for() {
    let server = Server::start();
    let store = open(&server, "slow");
    server.always(Some(Fault::Slow(50)));
    store.put("a", b"1").unwrap();
    server.always(None);
    assert_eq!(store.get("a").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_service_without_conditions_is_refused() {
    let server = Server::start();
    server.ignore_conditions();
    let store = open(&server, "loose");
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
        let opened = S3Store::open_with(wrong, options_of(&server));
        assert!(matches!(opened.map(drop), Err(StoreError::BadAddress { .. })), "{wrong}");
    }
    let mut options = options_of(&server);
    options.settings.push(("colour".to_string(), "red".to_string()));
    assert!(matches!(S3Store::open_with("s3://bucket", options).map(drop), Err(StoreError::BadAddress { .. })));
    let opened = S3Store::open_with("s3://another-bucket/a", options_of(&server));
    assert_eq!(kind(opened.map(drop)), ErrorKind::NotFound);
}

/// TLS has to be set up by hand; that it is shows in that the attempt fails at the server, which has none.
#[test]
fn tls_is_there() {
    let server = Server::start();
    let mut options = S3Options { attempt_timeout: Duration::from_millis(500), ..options_of(&server) };
    options.settings[0].1 = format!("https://{}", server.address);
    let opened = S3Store::open_with("s3://bucket/a", options).map(drop);
    assert_eq!(kind(opened), ErrorKind::TimedOut);
}

/// Stores under one bucket do not see each other's values, nor what others have put there.
#[test]
fn a_prefix_is_all_that_a_store_sees() {
    let server = Server::start();
    let (all, inner, other) = (open(&server, ""), open(&server, "in/ner"), open(&server, "in/nerve"));
    inner.put("a:b", b"1").unwrap();
    other.put("a:b", b"2").unwrap();
    assert_eq!(inner.list("").unwrap(), ["a:b"]);
    assert_eq!(inner.get("a:b").unwrap().as_deref(), Some(&b"1"[..]));
    assert_eq!(all.list("").unwrap(), ["in:ner:a:b", "in:nerve:a:b"]);
    assert_eq!(all.list("in:ner").unwrap().len(), 2);
    assert_eq!(all.list("in:ner:").unwrap(), ["in:ner:a:b"]);
}
