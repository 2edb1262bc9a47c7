//! What time does to a connection, with a paused clock and streams of memory.

use std::path::Path;
use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::LocalSet;

use super::*;
use crate::config;
use crate::generation::Generation;
use crate::plan::{Limits, Plan};
use crate::telemetry::Metrics;
use crate::upstream::Registry;

impl ClientStream for DuplexStream {
    fn reset_on_close(&self) {}
}

/// A worker whose one upstream takes connections and never answers.
fn worker() -> (Rc<Worker>, std::net::TcpListener) {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = format!(
        "workers: 1\nlisteners: [ {{ address: 127.0.0.1:0 }} ]\nroutes: [ {{ upstream: up }} ]\n\
         upstreams: {{ up: {{ endpoints: [ '{}' ] }} }}\ntimeouts: {{ response: 1d, connect: 1h }}\n",
        silent.local_addr().unwrap()
    );
    let (config, mut mistakes) = config::parse("test", &yaml, &|_| None);
    let plan = Plan::build(&config, Path::new(""), &mut mistakes);
    assert!(mistakes.is_empty(), "{mistakes}");
    let metrics = Metrics::new(1);
    let generation = Generation::new(plan, &Registry::default(), &metrics);
    let plan = Arc::new(ArcSwap::from_pointee(generation));
    (Worker::new(0, plan, metrics), silent)
}

fn arrival() -> Arrival {
    Arrival {
        peer: "192.0.2.1:1".parse().unwrap(),
        reached: None,
        tls: false,
        scheme_unknown: false,
        access: Arc::new(ArcSwapOption::empty()),
        server_name: None,
        identity: None,
        header_timeout: Duration::from_secs(30),
        limits: Limits { uri: 1024, headers: 8192, connections: None, streams: 10 },
    }
}

/// A served connection: its client's end, and its task.
fn begin(worker: &Rc<Worker>) -> (DuplexStream, tokio::task::JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(64 << 10);
    let serving = serve(server, Vec::new(), arrival(), Rc::clone(worker), Box::new(()));
    (client, tokio::task::spawn_local(async { assert!(serving.await.is_none()) }))
}

fn get() -> Request<()> {
    Request::get("http://a.example/").body(()).unwrap()
}

fn faults(worker: &Worker, fault: Http2Fault) -> u64 {
    worker.counters().http2_faults[fault as usize].value()
}

#[tokio::test(start_paused = true)]
async fn a_client_with_open_streams_is_asked_and_one_that_answers_may_stay() {
    let (worker, _silent) = worker();
    let living = async {
        let (client, task) = begin(&worker);
        let (mut send, connection) = h2::client::handshake(client).await.unwrap();
        tokio::task::spawn_local(async { drop(connection.await) });
        let (_response, _body) = send.send_request(get(), true).unwrap();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert!(!task.is_finished());
        assert_eq!(worker.counters().streams_begun.value(), 1);
        assert_eq!(faults(&worker, Http2Fault::Silent), 0);
    };
    LocalSet::new().run_until(living).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_does_not_answer_is_let_go_after_its_patience() {
    let (worker, _silent) = worker();
    let local = LocalSet::new();
    let dying = async {
        let (mut client, task) = begin(&worker);
        let began = Instant::now();
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        // GET / of a.example, on stream 1.
        client.write_all(b"\0\0\x0e\x01\x05\0\0\0\x01\x82\x86\x84\x01\x09a.example").await.unwrap();
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        let lived = began.elapsed();
        assert!(lived >= QUIET + PATIENCE && lived < QUIET + PATIENCE + LINGER * 3, "{lived:?}");
        drop(client);
        task.await.unwrap();
        assert_eq!(faults(&worker, Http2Fault::Silent), 1);
        // The last frame is the GOAWAY.
        let goaway = &said[said.len() - 17..];
        assert_eq!(goaway[3], 7, "{said:?}");
    };
    local.run_until(dying).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_after_the_header_timeout_and_no_stream_is_an_idle_one() {
    let (worker, _silent) = worker();
    let local = LocalSet::new();
    let idling = async {
        let (client, task) = begin(&worker);
        let (mut send, connection) = h2::client::handshake(client).await.unwrap();
        let ended = tokio::task::spawn_local(connection);
        let (response, mut body) = send.send_request(get(), true).unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        assert!(!ended.is_finished());
        let given_up = Instant::now();
        body.send_reset(Reason::CANCEL);
        drop(response);
        ended.await.unwrap().unwrap();
        let idle = given_up.elapsed();
        assert!(idle >= Duration::from_secs(30) && idle < Duration::from_secs(33), "{idle:?}");
        task.await.unwrap();
        assert_eq!(worker.counters().streams_ended.value(), 1);
        assert_eq!(worker.counters().http2_ended.value(), 1);
    };
    local.run_until(idling).await;
}
