//! What goes in and out of the store.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::mix::mix;
use crate::protocol::DeliveryState;
use crate::{FullName, MessageId, Timestamp, Token, Username};

/// An account's id. Stays the same when the account is renamed, and is never given to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountNumber(pub(crate) u64);

impl AccountNumber {
    /// The number itself, for logs and for keys in the embedder's own tables.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// What a session is found by: the SHA-256 of its token, so that the store keeps no token. Whoever has it can act for the
/// user; `Debug` shows only its public name.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionKey(pub(crate) [u8; 32]);

impl SessionKey {
    /// The key of the session this token opens.
    #[must_use]
    pub fn of(token: &Token) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(token.as_bytes()).into())
    }

    /// The session's public name: 16 hexadecimal digits, good for `revoke` and logs, useless for logging in.
    #[must_use]
    pub fn public_name(&self) -> String {
        self.0.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({})", self.public_name())
    }
}

/// The epoch of a mailbox: message ids are comparable only within one. It changes when the store was restored from an
/// older copy, or may have lost messages at [`Durability::ProcessCrash`](super::Durability). 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Incarnation(pub(crate) Box<str>);

impl Incarnation {
    /// As it stands on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message to store. `Debug` leaves the body out.
#[derive(Clone)]
#[non_exhaustive]
pub struct Outgoing {
    /// The sender's session.
    pub session: SessionKey,
    /// The recipient's username, in any case.
    pub to: Box<str>,
    /// The text. The store checks it, as [`check_body`](crate::check_body) does.
    pub body: Box<str>,
    /// An idempotency key: with one the message is stored once, however often it is sent within 24 hours of the store's
    /// running time, and each repetition gets the first receipt. Default none.
    pub key: Option<PostKey>,
    /// The sender's own watch, which then gets no [`WatchEvent::Sent`](super::WatchEvent::Sent) for this message. Default
    /// none.
    pub origin: Option<WatchId>,
}

impl Outgoing {
    /// A message without a key or an origin.
    #[must_use]
    pub fn new(session: SessionKey, to: impl Into<Box<str>>, body: impl Into<Box<str>>) -> Self {
        let (to, body) = (to.into(), body.into());
        Self { session, to, body, key: None, origin: None }
    }

    /// With a key: tells whom it is for, by the name as it stands there, whatever becomes of that. Only a sender who means to
    /// could find two names alike, and would take one message of theirs for another.
    pub(crate) fn recipient_tag(&self) -> [u8; 8] {
        let (words, rest) = self.to.as_bytes().as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let length = u64::try_from(self.to.len()).unwrap_or(u64::MAX);
        let tag = words.iter().chain([&last]).fold(length, |tag, word| {
            mix(tag ^ u64::from_le_bytes(word.map(|byte| byte.to_ascii_lowercase())))
        });
        tag.to_le_bytes()
    }

    /// What earlier versions kept in place of the tag: the first 8 bytes of a SHA-256 over recipient, a zero byte and text.
    pub(crate) fn digest(&self) -> [u8; 8] {
        use sha2::Digest as _;
        let digest: [u8; 32] = sha2::Sha256::new()
            .chain_update(self.to.to_ascii_lowercase())
            .chain_update([0])
            .chain_update(self.body.as_bytes())
            .finalize()
            .into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        [a, b, c, d, e, f, g, h]
    }
}

/// An idempotency key, the KEY of `post`. Kept as the first 16 bytes of its SHA-256.
// Aligned, as it is copied as words: at an odd address they lie across the stores of the copy before, which takes 30 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(align(8))]
pub struct PostKey(pub(crate) [u8; 16]);

impl PostKey {
    /// The key a client chose: 1 to 128 printable ASCII characters without a space, unique among those of one sender (128
    /// random bits in hexadecimal, say). `None` if it breaks that rule.
    #[must_use]
    pub fn new(key: &str) -> Option<Self> {
        use sha2::Digest as _;
        let fits = (1..=MOST_KEY_BYTES).contains(&key.len());
        // Without branches, so that many bytes are looked at together.
        if !fits || !key.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic()) {
            return None;
        }
        let mut kept = [0; 16];
        let digest: [u8; 32] = sha2::Sha256::digest(key).into();
        kept.iter_mut().zip(digest).for_each(|(kept, byte)| *kept = byte);
        Some(Self(kept))
    }
}

/// Names one [`Watch`](super::Watch) among all that this process had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(pub(crate) u64);

/// Whom a user lets know something; [`PrivacySubject`] says what. Users who are blocked never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivacyChoice {
    /// Those the user has written to.
    #[default]
    Default,
    /// Everybody.
    On,
    /// Nobody.
    Off,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Says that a message is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id for its sender, as [`Store::status`](super::Store::status) takes it.
    pub id: SentId,
    /// When it was stored.
    pub time: Timestamp,
    /// Whether the message had been stored by an earlier request with the same key.
    pub duplicate: bool,
}

/// A message's id for its sender. Encrypted, so that it tells nothing about the recipient's mailbox. 32 hexadecimal
/// digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SentId(pub(crate) [u8; 16]);

/// Where the next page of a conversation begins. Opaque, and valid for the same user and the same conversation only. 32
/// hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HistoryCursor(pub(crate) [u8; 16]);

/// The text is no [`SentId`] or [`HistoryCursor`]: not 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 32 hexadecimal digits")]
pub struct OpaqueIdError;

macro_rules! written_in_hex {
    ($($id:ident)*) => {$(
        impl $id {
            /// As it stands on the wire, in ASCII.
            #[must_use]
            pub fn hex(&self) -> [u8; 32] {
                hex(self.0)
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.hex()).map_err(|_| fmt::Error)?)
            }
        }

        impl FromStr for $id {
            type Err = OpaqueIdError;

            fn from_str(word: &str) -> Result<Self, OpaqueIdError> {
                let digits = word.len() == 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
                let number = digits.then(|| u128::from_str_radix(word, 16).ok()).flatten();
                number.map(|number| Self(number.to_be_bytes())).ok_or(OpaqueIdError)
            }
        }
    )*};
}

written_in_hex!(SentId HistoryCursor);

fn hex(bytes: [u8; 16]) -> [u8; 32] {
    let digit = |half: u8| half + if half < 10 { b'0' } else { b'a' - 10 };
    let mut hex = [0; 32];
    for (pair, byte) in hex.as_chunks_mut().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    hex
}

/// What became of a message, as far as its recipient lets the sender know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryStatus {
    /// How far it came.
    pub state: DeliveryState,
    /// When it was stored.
    pub stored: Timestamp,
    /// When it was written to one of the recipient's connections ([`Watch::pushed`](super::Watch::pushed)), to the
    /// second. Not kept over a restart.
    pub pushed: Option<Timestamp>,
    /// When it was delivered, to the second.
    pub delivered: Option<Timestamp>,
}

/// A page of a conversation.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// The username of the user who asks.
    pub username: Arc<str>,
    /// The username of the other.
    pub peer: Arc<str>,
    /// The incarnation of the asking user's mailbox, which the ids of [`EntryId::In`] belong to.
    pub incarnation: Incarnation,
    /// Oldest first.
    pub entries: Vec<ConversationEntry>,
    /// Where the page before this one in time begins; `None` if this is the oldest.
    pub next: Option<HistoryCursor>,
}

/// A message of a conversation.
#[derive(Debug, Clone)]
pub struct ConversationEntry {
    /// The message's id for the user who asks.
    pub id: EntryId,
    /// The message. Its own `id` is the one in the recipient's mailbox: do not show it to the sender, whom it would tell
    /// how many messages the recipient gets.
    pub message: Arc<Message>,
}

/// Which way a message of a conversation went, and its id on that side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryId {
    /// It came to the user.
    In(MessageId),
    /// The user sent it.
    Out(SentId),
}

/// What [`PrivacyChoice`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrivacySubject {
    /// Whether messages were delivered.
    Receipts,
    /// Whether the user is here.
    Presence,
}

/// A stored message. `Debug` leaves the body out.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Its number in the recipient's mailbox.
    pub id: MessageId,
    /// When it was stored.
    pub time: Timestamp,
    /// The sender's account.
    pub sender: AccountNumber,
    /// The sender's username as it was.
    pub from: Arc<str>,
    /// The sender's full name as it was.
    pub from_name: Arc<str>,
    /// The text.
    pub body: Box<str>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("from", &self.from)
            .finish_non_exhaustive()
    }
}

/// How much a page may hold. A page has at least one message if there is one, even one larger than `bytes`.
#[derive(Clone, Copy)]
pub struct PageLimit {
    /// Most messages; 0 counts as 1.
    pub messages: usize,
    /// Most bytes, as `cost` counts them.
    pub bytes: usize,
    /// How many bytes a message adds to the page, for instance when it is encoded.
    pub cost: fn(&Message) -> usize,
}

impl PageLimit {
    /// At most so many messages and so many bytes of their bodies.
    #[must_use]
    pub fn bodies(messages: usize, bytes: usize) -> Self {
        Self { messages, bytes, cost: |message| message.body.len() }
    }
}

impl fmt::Debug for PageLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageLimit")
            .field("messages", &self.messages)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// A range of consecutive messages of one mailbox that a reader was given. Made by [`Page::shown`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Whose mailbox.
    pub account: AccountNumber,
    /// The incarnation that the ids belong to.
    pub incarnation: Incarnation,
    /// The first id.
    pub first: MessageId,
    /// The last id.
    pub last: MessageId,
}

/// A page of a mailbox.
#[derive(Debug, Clone)]
pub struct Page {
    /// Whose mailbox.
    pub account: AccountNumber,
    /// The owner's username.
    pub username: Arc<str>,
    /// The owner's full name.
    pub name: Arc<str>,
    /// The mailbox's incarnation.
    pub incarnation: Incarnation,
    /// Oldest first.
    pub messages: Vec<Arc<Message>>,
    /// Whether there are more messages after this page.
    pub more: bool,
}

impl Page {
    /// What this page shows, for [`Store::confirm`](super::Store::confirm) and [`AckBasis`]; `None` if it is empty.
    #[must_use]
    pub fn shown(&self) -> Option<Shown> {
        let (first, last) = (self.messages.first()?.id, self.messages.last()?.id);
        Some(Shown { account: self.account, incarnation: self.incarnation.clone(), first, last })
    }
}

/// How [`Store::ack`](super::Store::ack) knows which incarnation of the mailbox the id belongs to.
#[derive(Debug, Clone)]
pub enum AckBasis {
    /// The reader named it ([`Incarnation::as_str`]).
    Incarnation(Box<str>),
    /// The reader did not name it, and was given these messages: the id must be one of them.
    Shown(Vec<Shown>),
}

/// A session, and whose it is.
#[derive(Debug, Clone)]
pub struct Whoami {
    /// The account.
    pub account: AccountNumber,
    /// Username.
    pub username: Arc<str>,
    /// Full name.
    pub name: Arc<str>,
    /// The mailbox's incarnation.
    pub incarnation: Incarnation,
    /// When the session was made.
    pub created: Timestamp,
    /// When it ends unless it is used.
    pub expires: Timestamp,
}

/// One of a user's sessions.
#[derive(Debug, Clone)]
pub struct SessionInfo {
    /// [`SessionKey::public_name`].
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Timestamp,
    /// When it ends unless it is used.
    pub expires: Timestamp,
    /// Whether it is the session that asks.
    pub current: bool,
}

/// Who is active, and a page of the accounts. A user is active while a connection uses one of their sessions, and for five
/// minutes after a session was used without one.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// Usernames of active users, oldest session first; at most 1,000.
    pub active: Vec<Arc<str>>,
    /// Whether there are more active users.
    pub more: bool,
    /// The page of the directory, if it was asked for.
    pub directory: Option<Directory>,
}

/// A page of the registered accounts, in order of username.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    /// The accounts.
    pub entries: Vec<DirectoryEntry>,
    /// Whether there are more.
    pub more: bool,
}

/// One account of the directory.
#[derive(Debug, Clone)]
pub struct DirectoryEntry {
    /// Username, as it was registered.
    pub username: Arc<str>,
    /// Full name.
    pub name: Arc<str>,
    /// Whether the user is active.
    pub active: bool,
}

/// An account to make. `Debug` leaves the password out.
#[derive(Clone)]
pub struct NewAccount {
    /// Its username.
    pub username: Username,
    /// Its full name.
    pub name: FullName,
    /// Its password; the store checks it by [`check_new_password`](crate::account::check_new_password).
    pub password: Box<str>,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An account to make whose password is hashed already. `Debug` leaves the hash out.
#[derive(Clone)]
pub struct HashedAccount {
    /// Its username.
    pub username: Username,
    /// Its full name.
    pub name: FullName,
    /// The Argon2id hash of its password.
    pub hash: crate::account::PasswordHash,
}

impl fmt::Debug for HashedAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedAccount").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An import that was begun by [`Store::begin_import`](super::Store::begin_import).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImportId(pub(crate) u64);

/// An account as an operator sees it.
#[derive(Debug, Clone)]
pub struct AccountSummary {
    /// Its number.
    pub number: AccountNumber,
    /// Its username.
    pub username: Arc<str>,
    /// Its full name.
    pub name: Arc<str>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was removed; its username is reserved until it is released.
    pub removed: Option<Timestamp>,
    /// How many messages wait for it.
    pub undelivered: u64,
    /// How many sessions it has.
    pub sessions: usize,
}

/// The longest KEY of `post`, in bytes (`docs/protocol.md`).
const MOST_KEY_BYTES: usize = 128;
