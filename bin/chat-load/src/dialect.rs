//! [`Dialect`]: how a client puts its requests.

use bytes::{BufMut, BytesMut};

use crate::accounts::{Accounts, put_number};
use crate::args::Protocol;
use crate::body::Body;

/// One client's way of asking: the protocol, and in it what says who asks.
#[derive(Debug)]
pub(crate) enum Dialect {
    Chat {
        /// `send`, the token, and a space: most of what is sent begins with it.
        send: Vec<u8>,
        /// The same of `post`, and the beginning of keys that no other client and no other run uses.
        post: Vec<u8>,
        posted: usize,
        token: String,
    },
    Redis {
        /// Where a key is written first: its length stands before it.
        key: BytesMut,
    },
    Irc,
}

impl Dialect {
    /// `token` counts where there are sessions.
    pub(crate) fn new(protocol: Protocol, token: String, run: u32, client: usize) -> Self {
        match protocol {
            Protocol::Chat | Protocol::Old => Self::Chat {
                send: format!("send {token} ").into_bytes(),
                post: format!("post {token} load-{run:08x}-{client}-").into_bytes(),
                posted: 0,
                token,
            },
            Protocol::Redis => Self::Redis { key: BytesMut::new() },
            Protocol::Irc => Self::Irc,
        }
    }

    pub(crate) fn put_send(
        &mut self,
        accounts: &Accounts,
        to: usize,
        body: Body<'_>,
        out: &mut BytesMut,
    ) {
        match self {
            Self::Chat { send, .. } => {
                out.put_slice(send);
                put_letter(accounts, to, body, out);
            }
            Self::Redis { key } => {
                key.clear();
                accounts.put_name(to, key);
                put_xadd(key, body, out);
            }
            Self::Irc => {
                out.put_slice(b"PRIVMSG ");
                accounts.put_name(to, out);
                out.put_slice(b" :");
                body.put(out);
                out.put_slice(b"\r\nPING k\r\n");
            }
        }
    }

    /// A `post` under a key of its own; where there is none, nothing.
    pub(crate) fn put_post(
        &mut self,
        accounts: &Accounts,
        to: usize,
        body: Body<'_>,
        out: &mut BytesMut,
    ) {
        let Self::Chat { post, posted, .. } = self else {
            return;
        };
        out.put_slice(post);
        put_number(*posted, out);
        *posted += 1;
        out.put_u8(b' ');
        put_letter(accounts, to, body, out);
    }

    /// A request that takes the client's token alone.
    pub(crate) fn put_with_token(&self, command: &str, out: &mut BytesMut) {
        if let Self::Chat { token, .. } = self {
            put_words(&[command, token], out);
        }
    }

    pub(crate) fn token(&self) -> &str {
        if let Self::Chat { token, .. } = self { token } else { "" }
    }
}

/// Words parted by spaces, and the end of a request.
pub(crate) fn put_words(words: &[&str], out: &mut BytesMut) {
    for (place, word) in words.iter().enumerate() {
        if place > 0 {
            out.put_u8(b' ');
        }
        out.put_slice(word.as_bytes());
    }
    out.put_slice(b"\r\n");
}

/// Recipient and message, and the end of a request.
fn put_letter(accounts: &Accounts, to: usize, body: Body<'_>, out: &mut BytesMut) {
    accounts.put_name(to, out);
    out.put_u8(b' ');
    body.put(out);
    out.put_slice(b"\r\n");
}

/// `XADD KEY * m MESSAGE`.
fn put_xadd(key: &[u8], body: Body<'_>, out: &mut BytesMut) {
    out.put_slice(b"*5\r\n$4\r\nXADD\r\n$");
    put_number(key.len(), out);
    out.put_slice(b"\r\n");
    out.put_slice(key);
    out.put_slice(b"\r\n$1\r\n*\r\n$1\r\nm\r\n$");
    put_number(body.len(), out);
    out.put_slice(b"\r\n");
    body.put(out);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::body::Bodies;

    fn put(dialect: &mut Dialect, post: bool) -> String {
        let accounts =
            Accounts::Numbered { prefix: "u".into(), count: 20, password: String::new() };
        let bodies = Bodies::new(3, false);
        let (body, mut out) = (bodies.body(3, Instant::now()), BytesMut::new());
        if post {
            dialect.put_post(&accounts, 12, body, &mut out);
        } else {
            dialect.put_send(&accounts, 12, body, &mut out);
        }
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_send_in_each_protocol() {
        let new = |protocol| Dialect::new(protocol, "t".to_owned(), 255, 7);
        assert_eq!(put(&mut new(Protocol::Chat), false), "send t u12 xxx\r\n");
        assert_eq!(put(&mut new(Protocol::Irc), false), "PRIVMSG u12 :xxx\r\nPING k\r\n");
        let xadd = "*5\r\n$4\r\nXADD\r\n$3\r\nu12\r\n$1\r\n*\r\n$1\r\nm\r\n$3\r\nxxx\r\n";
        assert_eq!(put(&mut new(Protocol::Redis), false), xadd);
    }

    #[test]
    fn no_key_is_used_twice() {
        let mut dialect = Dialect::new(Protocol::Chat, "t".to_owned(), 255, 7);
        assert_eq!(put(&mut dialect, true), "post t load-000000ff-7-0 u12 xxx\r\n");
        assert_eq!(put(&mut dialect, true), "post t load-000000ff-7-1 u12 xxx\r\n");
    }
}
