//! What is stored first, and then what happens.

use chat_core::store::{Outgoing, Store, StoreError, WatchEvent, WatchFrom};

use crate::support::{TestClock, join, log_in, next, options, send, store, take, watch};

#[tokio::test]
async fn what_waits_comes_first_and_then_what_happens() {
    let store = store();
    let (messi, lineker) = (join(&store, "messi").await, join(&store, "lineker").await);
    send(&store, messi, "lineker", "one").await;
    send(&store, messi, "lineker", "two").await;
    let mut watch = watch(&store, lineker).await;
    send(&store, messi, "lineker", "three").await;
    assert_eq!(take(&mut watch, 3).await, ["1:one", "2:two", "3:three"]);
    assert!(watch.try_next().is_none());
    send(&store, messi, "lineker", "four").await;
    assert_eq!(watch.try_next().map(|event| crate::support::said(&event)).unwrap(), "4:four");
    let after = WatchFrom::After {
        id: chat_core::MessageId::new(2),
        incarnation: watch.incarnation().as_str().into(),
    };
    let mut again = store.watch(lineker, after).await.unwrap();
    assert_eq!(take(&mut again, 2).await, ["3:three", "4:four"]);
}

#[tokio::test]
async fn every_device_sees_what_comes_and_what_another_sent() {
    let store = store();
    let (messi, lineker) = (join(&store, "messi").await, join(&store, "lineker").await);
    let phone = log_in(&store, "messi").await;
    let (mut desk, mut pocket) = (watch(&store, messi).await, watch(&store, phone).await);
    let mut halo = Outgoing::new(messi, "Lineker", "halo");
    halo.origin = Some(desk.id());
    let receipt = store.send(vec![halo]).await.remove(0).unwrap();
    send(&store, lineker, "messi", "apa kabar").await;
    send(&store, phone, "messi", "to myself").await;
    assert_eq!(take(&mut desk, 2).await, ["1:apa kabar", "2:to myself"]);
    let Ok(WatchEvent::Sent(sent)) = pocket.next().await else { panic!("not sent") };
    assert_eq!((sent.id, &*sent.to, &*sent.message.body), (receipt.id, "lineker", "halo"));
    assert_eq!(take(&mut pocket, 2).await, ["1:apa kabar", "2:to myself"]);
    assert!(desk.try_next().is_none() && pocket.try_next().is_none());
}

#[tokio::test]
async fn a_closed_store_wakes_who_waits_and_says_so_to_who_asks() {
    let store = store();
    let messi = join(&store, "messi").await;
    let mut watch = watch(&store, messi).await;
    let (event, closed) = tokio::join!(watch.next(), store.close());
    closed.unwrap();
    assert_eq!(event.unwrap_err(), StoreError::Closed);
    assert_eq!(store.whoami(messi).await.unwrap_err(), StoreError::Closed);
}

#[tokio::test]
async fn waiting_for_an_event_may_be_given_up() {
    let store = store();
    let (messi, lineker) = (join(&store, "messi").await, join(&store, "lineker").await);
    let mut watch = watch(&store, lineker).await;
    for n in 1..=100 {
        tokio::select! {
            biased;
            event = watch.next() => panic!("{event:?}"),
            () = std::future::ready(()) => send(&store, messi, "lineker", "halo").await,
        }
        assert_eq!(next(&mut watch).await, format!("{n}:halo"));
    }
}

#[tokio::test]
async fn sessions_end_while_they_watch() {
    let clock = TestClock::default();
    let store = Store::in_memory(options(&clock)).unwrap();
    let (messi, phone) = (join(&store, "messi").await, log_in(&store, "messi").await);
    let (mut desk, mut pocket) = (watch(&store, messi).await, watch(&store, phone).await);
    send(&store, messi, "messi", "before").await;
    store.logout(messi).await.unwrap();
    send(&store, phone, "messi", "after").await;
    assert_eq!(take(&mut desk, 2).await, ["1:before", "ended logout"]);
    assert!(desk.try_next().is_none());
    // The clock jumps beyond what a session may be idle. Whatever the store does next, it notices.
    clock.advance(31 * 24 * 60 * 60 * 1000);
    store.account("messi").await.unwrap();
    assert_eq!(take(&mut pocket, 3).await, ["1:before", "2:after", "ended expired"]);
}
