//! Properties of the codec that must hold for every input.

use bytes::BytesMut;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tokio_util::codec::{Decoder, Encoder as _};

use super::*;
use crate::{MessageId, Timestamp, Token};

/// Everything a decoder makes of `pieces`, up to its end or first error.
fn decode_pieces<'a>(
    codec: &mut impl Decoder<Item = Frame, Error = CodecError>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Option<String>) {
    let (mut src, mut frames) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        src.extend_from_slice(piece);
        loop {
            match codec.decode(&mut src) {
                Ok(Some(frame)) => frames.push(frame.as_bytes().to_vec()),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

/// The bytes cut at the given places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

/// Bytes in which line ends are common.
fn wire_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => Just(b"\r".to_vec()),
        3 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n\r\n".to_vec()),
        1 => Just(b"send t u ".to_vec()),
        4 => vec(any::<u8>(), 0..12),
    ];
    vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// A slow and obvious reading of the rules of request lines.
fn lines_by_the_book(bytes: &[u8], max_frame_bytes: usize) -> (Vec<Vec<u8>>, bool) {
    let mut frames = Vec::new();
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let unfinished = lines.pop().unwrap();
    for line in lines {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.len() > max_frame_bytes {
            return (frames, true);
        }
        if !line.is_empty() {
            frames.push(line.to_vec());
        }
    }
    let unfinished = unfinished.strip_suffix(b"\r").unwrap_or(unfinished);
    (frames, unfinished.len() > max_frame_bytes)
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![Just("-".to_owned()), "[a-z0-9]{1,8}", "[^ \r\n]{1,8}",]
}

fn optional_word() -> impl Strategy<Value = Option<String>> {
    option::of(word().prop_filter("'-' means none", |word| word != "-"))
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof!["[ -]{1,3}", "[^\r\n]{1,40}"]
}

fn assert_command_survives(command: &Command<'_>) {
    let mut line = BytesMut::new();
    ClientCodec::default().encode(command, &mut line).unwrap();
    let frame = ServerCodec::default().decode(&mut line).unwrap().unwrap();
    assert!(line.is_empty());
    assert!(Command::parse(&frame).as_ref() == Ok(command), "{:?}", frame.as_bytes());
}

fn text() -> impl Strategy<Value = std::borrow::Cow<'static, str>> {
    prop_oneof!["[ -~]{0,20}", any::<String>()].prop_map(Into::into)
}

fn name() -> impl Strategy<Value = std::borrow::Cow<'static, str>> {
    "[a-zA-Z0-9._-]{1,64}".prop_map(Into::into)
}

/// Every time that can be written down.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        1_700_000_000_000_i64..1_900_000_000_000,
        -377_705_023_201_000_i64..253_402_207_200_000,
    ]
    .prop_map(Timestamp::from_millis)
}

fn inbox_message() -> impl Strategy<Value = InboxMessage<'static>> {
    let sender = prop_oneof!["[a-c]", "[a-z]{1,64}"].prop_map(Into::into);
    (sender, text(), text(), text(), any::<u64>(), time()).prop_map(
        |(from, from_name, to_name, body, id, time)| InboxMessage {
            from,
            from_name,
            to_name,
            body,
            id: Some(MessageId::new(id)),
            time: Some(time),
        },
    )
}

fn inbox_page() -> impl Strategy<Value = InboxPage<'static>> {
    (vec(inbox_message(), 0..12), any::<bool>()).prop_map(|(mut messages, more)| {
        messages.sort_by_key(|message| message.id);
        messages.dedup_by_key(|message| message.id);
        InboxPage { messages, more }
    })
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<u64>().prop_map(MessageId::new)
}

fn opaque_id() -> impl Strategy<Value = std::borrow::Cow<'static, str>> {
    "[0-9a-f]{32}".prop_map(Into::into)
}

fn peek_message() -> impl Strategy<Value = PeekMessage<'static>> {
    (id(), time(), name(), text(), name(), text()).prop_map(
        |(id, time, from, from_name, to, body)| PeekMessage { id, time, from, from_name, to, body },
    )
}

fn peek_page() -> impl Strategy<Value = PeekPage<'static>> {
    ("[0-9a-f]{16}", vec(peek_message(), 0..12), any::<bool>()).prop_map(
        |(incarnation, messages, more)| PeekPage {
            incarnation: incarnation.into(),
            messages,
            more,
        },
    )
}

fn active_users() -> impl Strategy<Value = ActiveUsers<'static>> {
    (vec(name(), 0..8), any::<bool>()).prop_map(|(users, more)| ActiveUsers { users, more })
}

fn list() -> impl Strategy<Value = List<'static>> {
    let entry = (name(), text(), any::<bool>())
        .prop_map(|(username, name, active)| DirectoryEntry { username, name, active });
    let directory =
        (vec(entry, 0..8), option::of(name())).prop_map(|(users, next)| Directory { users, next });
    (active_users(), option::of(directory))
        .prop_map(|(active, directory)| List { active, directory })
}

fn hello() -> impl Strategy<Value = Hello<'static>> {
    let limits =
        any::<[u64; 4]>().prop_map(|[frame_bytes, message_bytes, page_messages, page_bytes]| {
            Limits { frame_bytes, message_bytes, page_messages, page_bytes }
        });
    (text(), text(), any::<u32>(), vec(text(), 0..4), limits, vec(text(), 0..4)).prop_map(
        |(server, version, protocol, commands, limits, features)| Hello {
            server,
            version,
            protocol,
            commands,
            limits,
            features,
        },
    )
}

fn whoami() -> impl Strategy<Value = Whoami<'static>> {
    (name(), text(), text(), time(), time()).prop_map(
        |(user, name, incarnation, created, expires)| Whoami {
            user,
            name,
            incarnation,
            created,
            expires,
        },
    )
}

fn session() -> impl Strategy<Value = SessionEntry<'static>> {
    (text(), time(), time(), time(), any::<bool>()).prop_map(
        |(session, created, last_used, expires, current)| SessionEntry {
            session,
            created,
            last_used,
            expires,
            current,
        },
    )
}

fn error() -> impl Strategy<Value = ErrorReply<'static>> {
    let code = prop_oneof![
        prop::sample::select(ErrorCode::ALL),
        any::<String>().prop_map(|word| ErrorCode::from(word.as_str())),
    ];
    let standard = code.clone().prop_map(ErrorReply::from);
    let own = (text(), option::of(code), option::of(any::<u64>()))
        .prop_map(|(message, code, retry_after_ms)| ErrorReply { message, code, retry_after_ms });
    prop_oneof![standard, own]
}

fn posted() -> impl Strategy<Value = Posted<'static>> {
    (opaque_id(), time(), any::<bool>(), text())
        .prop_map(|(id, time, duplicate, durability)| Posted { id, time, duplicate, durability })
}

fn message_status() -> impl Strategy<Value = MessageStatus> {
    let state = prop::sample::select(vec![
        DeliveryState::Stored,
        DeliveryState::Pushed,
        DeliveryState::Delivered,
    ]);
    (state, time(), option::of(time()), option::of(time())).prop_map(
        |(state, stored, pushed, delivered)| MessageStatus { state, stored, pushed, delivered },
    )
}

fn history_page() -> impl Strategy<Value = HistoryPage<'static>> {
    let came = id().prop_map(|id| (Direction::In, id.to_string().into()));
    let went = opaque_id().prop_map(|id| (Direction::Out, id));
    let message = (prop_oneof![came, went], time(), name(), text(), name(), text()).prop_map(
        |((direction, id), time, from, from_name, to, body)| HistoryMessage {
            direction,
            id,
            time,
            from,
            from_name,
            to,
            body,
        },
    );
    ("[0-9a-f]{16}", vec(message, 0..12), option::of(opaque_id())).prop_map(
        |(incarnation, messages, next)| HistoryPage {
            incarnation: incarnation.into(),
            messages,
            next,
        },
    )
}

fn watching() -> impl Strategy<Value = Watching<'static>> {
    let resume = prop::sample::select(vec![Resume::Undelivered, Resume::Exact, Resume::Gap]);
    ("[0-9a-f]{16}", resume, id(), option::of(id()), option::of(id())).prop_map(
        |(incarnation, resume, after, from, to)| Watching {
            incarnation: incarnation.into(),
            resume,
            after,
            from,
            to,
        },
    )
}

fn sent_message() -> impl Strategy<Value = SentMessage<'static>> {
    (opaque_id(), time(), name(), text(), name(), text()).prop_map(
        |(id, time, from, from_name, to, body)| SentMessage { id, time, from, from_name, to, body },
    )
}

fn event() -> impl Strategy<Value = Event<'static>> {
    prop_oneof![
        peek_message().prop_map(Event::Message),
        sent_message().prop_map(Event::Sent),
        (name(), any::<bool>()).prop_map(|(user, active)| Event::Presence { user, active }),
        (id(), id(), text()).prop_map(|(from, to, reason)| Event::Gap { from, to, reason }),
        Just(Event::Lagging),
        Just(Event::Live),
        text().prop_map(|reason| Event::SessionEnded { reason }),
        Just(Event::Shutdown),
        "later_[a-z]{0,8}".prop_map(|name| Event::Other(name.into())),
    ]
}

/// A reply and the command it answers.
fn reply() -> impl Strategy<Value = (&'static str, Reply<'static>)> {
    prop_oneof![
        any::<u128>().prop_map(|_| ("auth", Reply::LoggedIn(Token::random()))),
        prop::sample::select(vec![
            ("send", Reply::Sent),
            ("logout", Reply::LoggedOut),
            ("revoke", Reply::Revoked),
            ("ack", Reply::Acked),
            ("unwatch", Reply::Unwatched),
            ("block", Reply::Blocked),
            ("unblock", Reply::Blocked),
            ("privacy", Reply::PrivacySet),
        ]),
        inbox_page().prop_map(|page| ("inbox", Reply::Inbox(page))),
        list().prop_map(|list| ("list", Reply::List(list))),
        active_users().prop_map(|active| ("user_aktif", Reply::ActiveUsers(active))),
        hello().prop_map(|hello| ("hello", Reply::Hello(hello))),
        text().prop_map(|text| ("ping", Reply::Pong(text))),
        name().prop_map(|user| ("register", Reply::Registered(user))),
        any::<u64>().prop_map(|ended| ("passwd", Reply::PasswordChanged(ended))),
        whoami().prop_map(|whoami| ("whoami", Reply::Whoami(whoami))),
        vec(session(), 0..4).prop_map(|sessions| ("sessions", Reply::Sessions(sessions))),
        peek_page().prop_map(|page| ("peek", Reply::Peek(page))),
        posted().prop_map(|posted| ("post", Reply::Posted(posted))),
        message_status().prop_map(|status| ("status", Reply::Status(status))),
        history_page().prop_map(|page| ("history", Reply::History(page))),
        watching().prop_map(|watching| ("watch", Reply::Watching(watching))),
        error().prop_map(|error| ("send", Reply::Error(error))),
    ]
}

fn encoded_event(event: &Event<'_>) -> Vec<u8> {
    let mut dst = BytesMut::new();
    ServerCodec::default().encode(event, &mut dst).unwrap();
    dst.to_vec()
}

fn frame(bytes: &[u8]) -> Frame {
    let mut src = BytesMut::from(bytes);
    let frame = ClientCodec::default().decode(&mut src).unwrap().unwrap();
    assert!(src.is_empty());
    frame
}

fn encoded(reply: &Reply<'_>) -> Vec<u8> {
    let mut dst = BytesMut::new();
    ServerCodec::default().encode(reply, &mut dst).unwrap();
    dst.to_vec()
}

proptest! {
    #[test]
    fn any_split_gives_the_lines_of_the_book(
        bytes in wire_bytes(),
        places in vec(any::<prop::sample::Index>(), 0..12),
        limit in 0_usize..30,
    ) {
        let (expected, too_long) = lines_by_the_book(&bytes, limit);
        for pieces in [vec![&bytes[..]], cut(&bytes, &places), bytes.chunks(1).collect()] {
            let (frames, error) = decode_pieces(&mut ServerCodec::new(limit), pieces);
            prop_assert_eq!(&frames, &expected);
            prop_assert_eq!(error.is_some(), too_long);
        }
    }

    #[test]
    fn any_split_gives_the_same_replies(
        bytes in wire_bytes(),
        places in vec(any::<prop::sample::Index>(), 0..12),
        limit in 0_usize..30,
    ) {
        let whole = decode_pieces(&mut ClientCodec::new(limit), [&bytes[..]]);
        for pieces in [cut(&bytes, &places), bytes.chunks(1).collect()] {
            prop_assert_eq!(&decode_pieces(&mut ClientCodec::new(limit), pieces), &whole);
        }
    }

    /// Whatever came, the next whole line is read, and nothing panics on the way.
    #[test]
    fn garbage_never_stops_the_decoder(bytes in wire_bytes()) {
        let mut codec = ServerCodec::default();
        let mut src = BytesMut::from(&bytes[..]);
        src.extend_from_slice(b"\nping still here\n");
        let mut last = None;
        while let Some(frame) = codec.decode(&mut src).unwrap() {
            let _ = Command::parse(&frame);
            let _ = Reply::decode("inbox", &frame);
            let _ = Event::decode(&frame);
            last = Some(frame);
        }
        let last = last.unwrap();
        prop_assert!(src.is_empty());
        let expected = Command::Ping { text: "still here" };
        prop_assert_eq!(Command::parse(&last), Ok(expected));
    }

    #[test]
    fn commands_survive(
        [a, b, c] in [word(), word(), word()],
        [x, y] in [optional_word(), optional_word()],
        body in body(),
        explicit_ack: bool,
    ) {
        let (token, x, y) = (a.as_str(), x.as_deref(), y.as_deref());
        let name = Some(body.as_str()).filter(|name| *name != "-");
        for command in [
            Command::Auth { username: &a, password: &b },
            Command::Send { token, to: &b, body: &body },
            Command::Inbox { token },
            Command::List { token, after: x, limit: y },
            Command::ActiveUsers { token },
            Command::Logout { token },
            Command::Hello(HelloOptions { explicit_ack }),
            Command::Ping { text: &body },
            Command::Ping { text: "" },
            Command::Register { username: &a, password: &b, name },
            Command::Register { username: &a, password: &b, name: None },
            Command::ChangePassword { token, old: &b, new: &c },
            Command::Whoami { token },
            Command::Sessions { token },
            Command::Revoke { token, session: &b },
            Command::Peek { token, after: x, limit: y },
            Command::Ack { token, id: &b, incarnation: x },
            Command::Post { token, key: &b, to: &c, body: &body },
            Command::Status { token, id: &b },
            Command::History { token, with: &b, cursor: x, limit: y },
            Command::Watch { token, after: x.zip(y) },
            Command::Unwatch { token },
            Command::Block { token, username: &b },
            Command::Unblock { token, username: &b },
            Command::Privacy { token, subject: &b, choice: &c },
        ] {
            assert_command_survives(&command);
        }
    }

    #[test]
    fn replies_survive((command, reply) in reply()) {
        prop_assert_eq!(&Reply::decode(command, &frame(&encoded(&reply))).unwrap(), &reply);
    }

    #[test]
    fn events_survive(event in event()) {
        prop_assert_eq!(Event::decode(&frame(&encoded_event(&event))).unwrap(), Some(event));
    }

    /// A client tells them apart without knowing what it asked.
    #[test]
    fn a_reply_is_never_an_event_and_an_event_never_a_reply(
        (_, reply) in reply(),
        (command, _) in reply(),
        event in event(),
    ) {
        prop_assert!(Event::decode(&frame(&encoded(&reply))).unwrap().is_none());
        prop_assert!(Reply::decode(command, &frame(&encoded_event(&event))).is_err());
    }

    #[test]
    fn replies_and_events_are_one_line_of_ascii_json((_, reply) in reply(), event in event()) {
        for bytes in [encoded(&reply), encoded_event(&event)] {
            let json = bytes.strip_suffix(b"\r\n\r\n").unwrap();
            prop_assert!(json.iter().all(|byte| (b' '..=b'~').contains(byte)));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(json).unwrap().is_object());
        }
    }

    /// Existing clients read 64 bytes at a time, decode each piece alone, and stop when one ends in the reply's end.
    #[test]
    fn a_reader_of_64_bytes_survives((_, reply) in reply()) {
        let bytes = encoded(&reply);
        let mut text = String::new();
        for piece in bytes.chunks(64) {
            text.push_str(std::str::from_utf8(piece).unwrap());
        }
        prop_assert_eq!(text.find("\r\n\r\n"), Some(text.len() - 4));
    }

    #[test]
    fn an_inbox_is_no_longer_than_its_messages_announce(page in inbox_page()) {
        let bound: usize = page.messages.iter().map(InboxMessage::encoded_len_bound).sum();
        let groups = page.messages.len() * 80;
        let length = encoded(&Reply::Inbox(page)).len();
        prop_assert!(length <= bound + PAGE_OVERHEAD_BYTES);
        prop_assert!(length + groups + PAGE_OVERHEAD_BYTES >= bound);
    }

    #[test]
    fn a_peek_is_no_longer_than_its_messages_announce(page in peek_page()) {
        let bound: usize = page.messages.iter().map(PeekMessage::encoded_len_bound).sum();
        let slack = page.messages.len() * 4 + PAGE_OVERHEAD_BYTES;
        let length = encoded(&Reply::Peek(page)).len();
        prop_assert!(length <= bound + PAGE_OVERHEAD_BYTES);
        prop_assert!(length + slack >= bound);
    }

    #[test]
    fn a_history_is_no_longer_than_its_messages_announce(page in history_page()) {
        let bound: usize = page.messages.iter().map(HistoryMessage::encoded_len_bound).sum();
        let slack = page.messages.len() * 4 + PAGE_OVERHEAD_BYTES;
        let length = encoded(&Reply::History(page)).len();
        prop_assert!(length <= bound + PAGE_OVERHEAD_BYTES);
        prop_assert!(length + slack >= bound);
    }
}
