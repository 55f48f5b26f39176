//! Calls of the store's handle.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use chat_core::Token;
use chat_core::store::{Outgoing, Page, PageLimit, PostKey, SessionKey};
use gungraun::{library_benchmark, library_benchmark_group};
use tokio::task::unconstrained;

use crate::host::{BODY, Host, USERS, user};

library_benchmark_group!(name = stored, benchmarks = [send_256, inbox, auth_16]);

/// What is to be sent: commits, of requests, of messages.
type Batches = Vec<Vec<Vec<Outgoing>>>;

// 256 messages, one to each user: so many requests wait when the actor looks, of so many messages each.
#[library_benchmark]
#[bench::in_batches_of_1(sending(1, 1, false))]
#[bench::in_batches_of_16(sending(16, 1, false))]
#[bench::in_batches_of_256(sending(256, 1, false))]
#[bench::in_one_batch_of_16_by_16(sending(16, 16, false))]
#[bench::posted_in_batches_of_16(sending(16, 1, true))]
fn send_256((host, batches): (Host, Batches)) -> Host {
    // Otherwise the runtime has the task pause after 128 requests.
    host.run(unconstrained(async {
        for batch in batches {
            let requests = batch.into_iter().map(|messages| host.store.send(messages));
            let answers = all(requests).await;
            assert!(answers.iter().flatten().all(Result::is_ok));
        }
    }));
    host
}

// A page of 50 messages that are still in memory.
#[library_benchmark]
#[bench::of_50(with_mail(50))]
fn inbox((host, session): (Host, SessionKey)) -> (Host, Page) {
    let limit = PageLimit::bodies(1_000, 64 * 1024);
    let page = host.run(host.store.inbox(session, &[], limit)).unwrap();
    (host, page)
}

// Logins but for their hashes: several, as waiting for the other thread takes now a few instructions more, now less.
#[library_benchmark]
#[bench::without_the_hash(warm())]
fn auth_16(host: Host) -> (Host, Vec<Token>) {
    let tokens = host.log_in(16);
    (host, tokens)
}

/// A store in which each sender has written to everybody, and one message more to each.
fn sending(requests: usize, messages: usize, keyed: bool) -> (Host, Batches) {
    let host = Host::new();
    let sessions: Vec<_> = host.log_in(SENDERS).iter().map(SessionKey::of).collect();
    // 17 each: at the 17th, lists double, which is no usual message.
    sessions.iter().chain(sessions.first()).for_each(|from| host.send_everybody_one(*from));
    let message = |n: usize| {
        let mut message = Outgoing::new(sessions[n % SENDERS], user(n % USERS), BODY);
        message.key = keyed.then(|| PostKey::new(&n.to_string()).unwrap());
        message
    };
    // The first key of all makes room for a million.
    assert!(host.run(host.store.send(vec![message(USERS)]))[0].is_ok());
    let all: Vec<_> = (0..USERS).map(message).collect();
    let request = |messages: &[Outgoing]| messages.to_vec();
    let batch = |batch: &[Outgoing]| batch.chunks(messages).map(request).collect();
    let batches = all.chunks(requests * messages).map(batch).collect();
    (host, batches)
}

fn with_mail(count: usize) -> (Host, SessionKey) {
    let host = Host::new();
    let sessions: Vec<_> = host.log_in(SENDERS).iter().map(SessionKey::of).collect();
    for n in 0..count {
        let message = Outgoing::new(sessions[n % SENDERS], user(0), BODY);
        assert!(host.run(host.store.send(vec![message]))[0].is_ok());
    }
    let (first, limit) = (sessions[0], PageLimit::bodies(1_000, 64 * 1024));
    let page = host.run(host.store.inbox(first, &[], limit)).unwrap();
    assert_eq!(page.messages.len(), count);
    (host, first)
}

fn warm() -> Host {
    let host = Host::new();
    host.log_in(SENDERS);
    host
}

/// Has all of them wait for the actor at once, and then for what it answers.
async fn all<F: Future>(calls: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    poll_fn(|context| {
        let waits = |call: &mut Pin<Box<F>>| call.as_mut().poll(context).is_pending();
        assert!(calls.iter_mut().all(waits));
        Poll::Ready(())
    })
    .await;
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.await);
    }
    answers
}

const SENDERS: usize = 16;
