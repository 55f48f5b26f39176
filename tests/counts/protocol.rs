//! Bytes to commands, and replies to bytes.

use std::hint::black_box;

use bytes::BytesMut;
use chat_core::protocol::{
    ActiveUsers, Command, DeliveryState, Direction, Directory, DirectoryEntry, ErrorCode, Event,
    Hello, HistoryMessage, HistoryPage, InboxMessage, InboxPage, Limits, List, MessageStatus,
    PeekMessage, PeekPage, Posted, Reply, Resume, ServerCodec, SessionEntry, Watching, Whoami,
};
use chat_core::{MessageId, Timestamp};
use gungraun::{library_benchmark, library_benchmark_group};
use tokio_util::codec::Decoder as _;

library_benchmark_group!(name = decoded, benchmarks = [decode]);
library_benchmark_group!(name = encoded, benchmarks = [encode, encode_event]);

// All commands that the bytes hold.
#[library_benchmark]
#[bench::auth(lines("auth messi surabaya", 1))]
#[bench::send(lines(&send(), 1))]
#[bench::send_16(lines(&send(), 16))]
#[bench::send_of_16_kib(lines(&format!("send {TOKEN} lineker {}", "x".repeat(16 * 1024)), 1))]
#[bench::send_not_ascii(lines(&format!("send {TOKEN} lineker {}", "é".repeat(50)), 1))]
#[bench::send_in_pieces(pieces(&send(), 10))]
#[bench::post(lines(&format!("post {TOKEN} 4711 lineker {}", "x".repeat(100)), 1))]
#[bench::inbox(lines(&format!("inbox {TOKEN}"), 1))]
#[bench::peek(lines(&format!("peek {TOKEN} 17 50"), 1))]
#[bench::ack(lines(&format!("ack {TOKEN} 17"), 1))]
#[bench::watch(lines(&format!("watch {TOKEN} 17 {INCARNATION}"), 1))]
#[bench::history(lines(&format!("history {TOKEN} lineker - 50"), 1))]
#[bench::status(lines(&format!("status {TOKEN} {SENT_ID}"), 1))]
#[bench::list(lines(&format!("list {TOKEN}"), 1))]
#[bench::whoami(lines(&format!("whoami {TOKEN}"), 1))]
#[bench::hello(lines("hello explicit_ack", 1))]
#[bench::ping(lines("ping", 1))]
#[bench::no_command(lines("terbang ke bulan", 1))]
fn decode((mut codec, pieces): (ServerCodec, Vec<BytesMut>)) -> (ServerCodec, BytesMut) {
    let mut pieces = pieces.into_iter();
    let mut input = pieces.next().unwrap();
    loop {
        while let Some(frame) = codec.decode(&mut input).unwrap() {
            let _ = black_box(Command::parse(black_box(&frame)));
        }
        match pieces.next() {
            Some(piece) => input.extend_from_slice(&piece),
            None => return (codec, input),
        }
    }
}

#[library_benchmark]
#[bench::logged_in(Reply::LoggedIn(TOKEN.parse().unwrap()), room())]
#[bench::sent(Reply::Sent, room())]
#[bench::inbox_of_1(Reply::Inbox(inbox(1)), room())]
#[bench::inbox_of_50(Reply::Inbox(inbox(50)), room())]
#[bench::list_of_20(Reply::List(list(20)), room())]
#[bench::active_users_20(Reply::ActiveUsers(active(20)), room())]
#[bench::logged_out(Reply::LoggedOut, room())]
#[bench::hello(Reply::Hello(hello()), room())]
#[bench::pong(Reply::Pong("halo".into()), room())]
#[bench::registered(Reply::Registered("messi".into()), room())]
#[bench::password_changed(Reply::PasswordChanged(3), room())]
#[bench::whoami(Reply::Whoami(whoami()), room())]
#[bench::sessions_3(Reply::Sessions(vec![session(); 3]), room())]
#[bench::revoked(Reply::Revoked, room())]
#[bench::peek_of_50(Reply::Peek(peek(50)), room())]
#[bench::acked(Reply::Acked, room())]
#[bench::posted(Reply::Posted(posted()), room())]
#[bench::status(Reply::Status(status()), room())]
#[bench::history_of_50(Reply::History(history(50)), room())]
#[bench::watching(Reply::Watching(watching()), room())]
#[bench::unwatched(Reply::Unwatched, room())]
#[bench::blocked(Reply::Blocked, room())]
#[bench::privacy_set(Reply::PrivacySet, room())]
#[bench::error(Reply::Error(ErrorCode::NoSuchRecipient.into()), room())]
fn encode(reply: Reply<'static>, mut output: BytesMut) -> (Reply<'static>, BytesMut) {
    black_box(&reply).encode(&mut output);
    (reply, output)
}

#[library_benchmark]
#[bench::message(Event::Message(peek_message(1)), room())]
#[bench::presence(Event::Presence { user: "messi".into(), active: true }, room())]
fn encode_event(event: Event<'static>, mut output: BytesMut) -> (Event<'static>, BytesMut) {
    black_box(&event).encode(&mut output);
    (event, output)
}

fn send() -> String {
    format!("send {TOKEN} lineker {}", "x".repeat(100))
}

/// The line so many times, in one piece.
fn lines(line: &str, times: usize) -> (ServerCodec, Vec<BytesMut>) {
    (warm(), vec![BytesMut::from(&*format!("{line}\r\n").repeat(times))])
}

/// The line, in so many pieces.
fn pieces(line: &str, count: usize) -> (ServerCodec, Vec<BytesMut>) {
    let line = format!("{line}\r\n");
    let pieces = line.as_bytes().chunks(line.len().div_ceil(count)).map(BytesMut::from).collect();
    (warm(), pieces)
}

/// A codec, once what is done at the first search for a line's end has been done.
fn warm() -> ServerCodec {
    let mut codec = ServerCodec::default();
    assert!(codec.decode(&mut BytesMut::from("ping\r\n")).unwrap().is_some());
    codec
}

/// An output that need not grow.
fn room() -> BytesMut {
    BytesMut::with_capacity(64 * 1024)
}

fn inbox(count: u64) -> InboxPage<'static> {
    let message = |n| InboxMessage {
        from: format!("user{}", n % 5).into(),
        from_name: "Lionel Messi".into(),
        to_name: "Gary Lineker".into(),
        body: body().into(),
        id: Some(MessageId::new(n + 1)),
        time: Some(TIME),
    };
    InboxPage { messages: (0..count).map(message).collect(), more: true }
}

fn peek(count: u64) -> PeekPage<'static> {
    let messages = (0..count).map(peek_message).collect();
    PeekPage { incarnation: INCARNATION.into(), messages, more: true }
}

fn peek_message(n: u64) -> PeekMessage<'static> {
    PeekMessage {
        id: MessageId::new(n + 1),
        time: TIME,
        from: "messi".into(),
        from_name: "Lionel Messi".into(),
        to: "lineker".into(),
        body: body().into(),
    }
}

fn history(count: u64) -> HistoryPage<'static> {
    let message = |n: u64| HistoryMessage {
        direction: if n.is_multiple_of(2) { Direction::In } else { Direction::Out },
        id: n.to_string().into(),
        time: TIME,
        from: "messi".into(),
        from_name: "Lionel Messi".into(),
        to: "lineker".into(),
        body: body().into(),
    };
    HistoryPage {
        incarnation: INCARNATION.into(),
        messages: (0..count).map(message).collect(),
        next: Some(SENT_ID.into()),
    }
}

fn active(count: u64) -> ActiveUsers<'static> {
    ActiveUsers { users: (0..count).map(|n| format!("user{n}").into()).collect(), more: false }
}

fn list(count: u64) -> List<'static> {
    let entry = |n| DirectoryEntry {
        username: format!("user{n}").into(),
        name: "Lionel Messi".into(),
        active: true,
    };
    let users = (0..count).map(entry).collect();
    let directory = Directory { users, next: Some("user19".into()) };
    List { active: active(count), directory: Some(directory) }
}

fn hello() -> Hello<'static> {
    Hello {
        server: "chatd".into(),
        version: "0.1.0".into(),
        protocol: 1,
        commands: ["auth", "send", "inbox", "list"].map(Into::into).into(),
        limits: Limits {
            frame_bytes: 65_536,
            message_bytes: 16_384,
            page_messages: 1_000,
            page_bytes: 1_048_576,
        },
        features: vec!["explicit_ack".into()],
    }
}

fn whoami() -> Whoami<'static> {
    Whoami {
        user: "messi".into(),
        name: "Lionel Messi".into(),
        incarnation: INCARNATION.into(),
        created: TIME,
        expires: TIME,
    }
}

fn session() -> SessionEntry<'static> {
    SessionEntry {
        session: INCARNATION.into(),
        created: TIME,
        last_used: TIME,
        expires: TIME,
        current: true,
    }
}

fn posted() -> Posted<'static> {
    Posted { id: SENT_ID.into(), time: TIME, duplicate: false, durability: "power_loss".into() }
}

fn status() -> MessageStatus {
    let state = DeliveryState::Delivered;
    MessageStatus { state, stored: TIME, pushed: Some(TIME), delivered: Some(TIME) }
}

fn watching() -> Watching<'static> {
    Watching {
        incarnation: INCARNATION.into(),
        resume: Resume::Gap,
        after: MessageId::new(17),
        from: Some(MessageId::new(18)),
        to: Some(MessageId::new(20)),
    }
}

/// 100 bytes as people write them: one in twenty characters is escaped.
fn body() -> String {
    "apa kabar, \"messi\"?".chars().cycle().take(100).collect()
}

const TOKEN: &str = "003173a0-8a1e-45f1-8b6a-56a8fdeafe47";
const INCARNATION: &str = "ce6f1ebebf3e516a";
const SENT_ID: &str = "ce6f1ebebf3e516ace6f1ebebf3e516a";
const TIME: Timestamp = Timestamp::from_millis(1_795_000_000_123);
