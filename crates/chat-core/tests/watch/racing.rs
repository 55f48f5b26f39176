//! Real threads: senders, watches that come and go, readers and acknowledgements at once.

use std::collections::BTreeMap;
use std::time::Duration;

use chat_core::MessageId;
use chat_core::store::{
    AckBasis, Outgoing, PageLimit, SessionKey, Store, Watch, WatchEvent, WatchFrom,
};
use tokio::task::JoinSet;

use crate::support::{TestClock, join, log_in, next, options, said, send, store, watch};

const SENDERS: usize = 4;
const EACH: usize = 1_500;

/// Sends bodies that tell who sent them, in batches of different sizes.
async fn pour(store: Store, session: SessionKey, who: usize) {
    let mut sent = 0;
    while sent < EACH {
        let count = (sent % 37 + 1).min(EACH - sent);
        let messages = (sent..sent + count)
            .map(|n| Outgoing::new(session, "messi", format!("{who}.{n}")))
            .collect();
        for outcome in store.send(messages).await {
            outcome.unwrap();
        }
        sent += count;
        tokio::task::yield_now().await;
    }
}

/// Has all senders do so, each by a session of its own.
async fn pour_all(store: &Store) -> JoinSet<()> {
    let mut senders = JoinSet::new();
    for who in 0..SENDERS {
        let session = join(store, &format!("sender{who}")).await;
        senders.spawn(pour(store.clone(), session, who));
    }
    senders
}

/// Takes everything from the first message to the last; every now and then opens another watch in place of this one.
async fn follow(store: Store, session: SessionKey, reopen: u64) -> Vec<String> {
    let incarnation = store.whoami(session).await.unwrap().incarnation.as_str().into();
    let mut watch =
        store.watch(session, WatchFrom::After { id: MessageId::ZERO, incarnation }).await.unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < SENDERS * EACH {
        if let WatchEvent::Message(message) = watch.next().await.unwrap() {
            assert_eq!(message.id.get(), bodies.len() as u64 + 1, "a hole or a repeat");
            bodies.push(message.body.to_string());
            if reopen > 0 && message.id.get() % reopen == 0 {
                let incarnation = watch.incarnation().as_str().into();
                let from = WatchFrom::After { id: message.id, incarnation };
                watch = store.watch(session, from).await.unwrap();
            }
        }
    }
    bodies
}

/// In whatever order the senders got through, each one's own order is kept.
fn check_order(bodies: &[String]) {
    let mut expected = BTreeMap::<&str, usize>::new();
    for body in bodies {
        let (who, n) = body.split_once('.').unwrap();
        let next = expected.entry(who).or_default();
        assert_eq!(*next, n.parse::<usize>().unwrap());
        *next += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sends_that_race_the_switch_from_replay_to_live_are_seen_once() {
    let store = store();
    let messi = join(&store, "messi").await;
    let senders = pour_all(&store).await;
    let mut watchers = JoinSet::new();
    for reopen in [0, 0, 1, 7, 100] {
        watchers.spawn(follow(store.clone(), messi, reopen));
    }
    let seen = watchers.join_all().await;
    senders.join_all().await;
    check_order(&seen[0]);
    assert!(seen.iter().all(|bodies| *bodies == seen[0]));
}

/// Two watches show everything, whoever acknowledges meanwhile, and `inbox` never goes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_watches_an_ack_and_an_inbox_race() {
    let store = store();
    let messi = join(&store, "messi").await;
    let senders = pour_all(&store).await;
    let mut watchers = JoinSet::new();
    watchers.spawn(follow(store.clone(), messi, 0));
    watchers.spawn(follow(store.clone(), log_in(&store, "messi").await, 50));
    let incarnation = store.whoami(messi).await.unwrap().incarnation;
    let (mut delivered, all) = (0, (SENDERS * EACH) as u64);
    while delivered < all {
        let page = store.inbox(messi, &[], PageLimit::bodies(10, 1_000)).await.unwrap();
        let Some(shown) = page.shown() else {
            tokio::task::yield_now().await;
            continue;
        };
        assert_eq!(shown.first.get(), delivered + 1);
        delivered = shown.last.get();
        match delivered % 2 {
            0 => store.confirm(shown).await,
            _ => {
                let basis = AckBasis::Incarnation(incarnation.as_str().into());
                store.ack(messi, MessageId::new(delivered), basis).await.unwrap();
            }
        }
    }
    senders.join_all().await;
    let seen = watchers.join_all().await;
    check_order(&seen[0]);
    assert_eq!(seen[0], seen[1]);
}

/// A watcher that does not read is caught up from the store; its feed holds a bounded number of events.
#[tokio::test]
async fn a_slow_watcher_is_caught_up() {
    let store = store();
    let (messi, lineker) = (join(&store, "messi").await, join(&store, "lineker").await);
    let mut slow = watch(&store, messi).await;
    assert!(slow.try_next().is_none());
    for _ in 0..10 {
        let batch = vec![Outgoing::new(lineker, "messi", "halo"); 200];
        assert!(store.send(batch).await.iter().all(Result::is_ok));
    }
    let told = read_to(&mut slow, "live").await;
    let mut expected: Vec<_> = (1..=2_000).map(|id| format!("{id}:halo")).collect();
    expected.insert(1_024, "lagging".into());
    expected.push("live".into());
    assert_eq!(told, expected);
    // And then it is live.
    store.send(vec![Outgoing::new(lineker, "messi", "now")]).await;
    assert_eq!(slow.try_next().map(|event| said(&event)).unwrap(), "2001:now");
}

async fn read_to(watch: &mut Watch, end: &str) -> Vec<String> {
    let mut told = vec![next(watch).await];
    while told.last().unwrap() != end {
        told.push(next(watch).await);
    }
    told
}

/// Watches that began to read and are not asked on, because their connections do something else, take no place from others.
#[tokio::test]
async fn reads_that_nobody_waits_for_hold_nobody_up() {
    let mut options = options(&TestClock::default());
    options.recent_bytes = 0;
    let store = Store::in_memory(options).unwrap();
    let messi = join(&store, "messi").await;
    send(&store, messi, "messi", "halo").await;
    let mut watches = Vec::new();
    for _ in 0..20 {
        let mut watch = watch(&store, messi).await;
        tokio::select! {
            biased;
            event = watch.next() => panic!("read at once: {event:?}"),
            () = std::future::ready(()) => watches.push(watch),
        }
    }
    let page = store.peek(messi, None, PageLimit::bodies(10, 1_000));
    let page = tokio::time::timeout(Duration::from_secs(10), page).await.expect("it is stuck");
    assert_eq!(page.unwrap().messages.len(), 1);
    for watch in &mut watches {
        assert_eq!(next(watch).await, "1:halo");
    }
}
