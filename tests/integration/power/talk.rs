//! Connections that remember what they asked, and when.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use chat_tests::client::TextClient;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;

/// A request, in the words of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Action {
    Register {
        user: String,
        password: String,
    },
    Login {
        user: String,
    },
    Logout {
        token: String,
    },
    /// Ends all sessions of the user but this.
    Passwd {
        token: String,
        new: String,
    },
    Send {
        from: String,
        to: String,
        body: String,
        /// With one it is a `post`.
        key: Option<String>,
    },
    Peek {
        user: String,
    },
    /// The page is confirmed by the next request, unless only `ack` confirms here.
    Inbox {
        user: String,
        confirms: bool,
    },
    Ack {
        user: String,
        id: u64,
    },
    Hello,
}

/// A request that was made.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) action: Action,
    /// How many replies had come on this connection before it was sent.
    pub(super) after: usize,
}

/// All requests of a connection, in order.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Conversation {
    /// Which daemon it was with.
    pub(super) life: usize,
    pub(super) port: u16,
    /// Whether it is about an account that nobody else uses, or about mail.
    pub(super) about_account: bool,
    pub(super) asked: Vec<Asked>,
}

/// One end of a conversation under way.
#[derive(Debug)]
pub(super) struct Talker {
    client: TextClient,
    conversation: Conversation,
    replies: usize,
    /// Gets a permit for each reply.
    answered: Arc<Semaphore>,
}

impl Talker {
    pub(super) async fn connect(
        address: SocketAddr,
        life: usize,
        about_account: bool,
        answered: Arc<Semaphore>,
    ) -> Self {
        let client = TextClient::connect(address).await;
        let port = client.port();
        let conversation = Conversation { life, port, about_account, asked: Vec::new() };
        Self { client, conversation, replies: 0, answered }
    }

    pub(super) fn life(&self) -> usize {
        self.conversation.life
    }

    /// Sends requests at once, each an action and its line, and waits for all replies, which must be OK.
    pub(super) async fn all(
        &mut self,
        requests: impl IntoIterator<Item = (Action, String)>,
    ) -> io::Result<Vec<Value>> {
        let (after, mut text, mut wanted) = (self.replies, String::new(), 0);
        for (action, line) in requests {
            self.conversation.asked.push(Asked { action, after });
            text.push_str(&line);
            text.push_str("\r\n");
            wanted += 1;
        }
        self.client.send(text.as_bytes()).await?;
        let mut values = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            values.push(self.reply().await?);
        }
        Ok(values)
    }

    pub(super) async fn one(&mut self, action: Action, line: String) -> io::Result<Value> {
        Ok(self.all([(action, line)]).await?.remove(0))
    }

    /// What was said, once all has been.
    pub(super) fn into_conversation(self) -> Conversation {
        self.conversation
    }

    async fn reply(&mut self) -> io::Result<Value> {
        let reply = self.client.receive().await?;
        self.replies += 1;
        self.answered.add_permits(1);
        let value: Value = serde_json::from_slice(&reply).expect("a reply is JSON");
        assert_eq!(value["status"], "OK", "{value}");
        Ok(value)
    }
}
