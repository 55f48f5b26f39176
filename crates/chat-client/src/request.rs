//! [`Request`]: what a handle asks of the task, and [`Call`], the usual one.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use chat_core::protocol::{ClientCodec, CodecError, Command, Frame};
use tokio::sync::oneshot;
use tokio_util::codec::Encoder;

use crate::watcher::NewWatch;
use crate::{CloseReason, InvalidRequest};

/// What a handle asks of the task.
pub(crate) enum Request {
    Call(Call),
    Watch(NewWatch),
}

/// One line for the server and where its reply goes.
pub(crate) struct Call {
    command: &'static str,
    line: Bytes,
    stage: Stage,
    /// Whether an earlier connection may have brought it to the server.
    was_sent: bool,
    reply: oneshot::Sender<Result<Answer, Lost>>,
}

/// What came for a call.
pub(crate) struct Answer {
    pub(crate) frame: Frame,
    /// Whether an earlier connection may have brought the request to the server, too.
    pub(crate) repeated: bool,
}

/// Nothing will come for a call.
pub(crate) struct Lost {
    pub(crate) sent: bool,
    pub(crate) reason: CloseReason,
}

/// How far a call came, for its caller and the task to agree on: whoever gives up before it was sent has it never sent.
#[derive(Clone)]
pub(crate) struct Stage(Arc<Mutex<Place>>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Waiting { was_sent: bool },
    Sent,
    GivenUp,
}

impl Call {
    pub(crate) fn new(
        command: &'static str,
        line: BytesMut,
    ) -> (Self, Stage, oneshot::Receiver<Result<Answer, Lost>>) {
        let (reply, answer) = oneshot::channel();
        let stage = Stage(Arc::new(Mutex::new(Place::Waiting { was_sent: false })));
        let call =
            Self { command, line: line.freeze(), stage: stage.clone(), was_sent: false, reply };
        (call, stage, answer)
    }

    /// The line, if somebody still waits for its reply. From here on it counts as sent.
    pub(crate) fn start(&self) -> Option<&Bytes> {
        if self.reply.is_closed() {
            return None;
        }
        self.stage.start().then_some(&self.line)
    }

    pub(crate) fn answer(self, frame: Frame) {
        // Nobody there means that the call was dropped or timed out; its reply is done with all the same.
        let _ = self.reply.send(Ok(Answer { frame, repeated: self.was_sent }));
    }

    /// After the connection was cut: the call if it may go out once more.
    pub(crate) fn after_cut(mut self, written: bool, reason: &CloseReason) -> Option<Self> {
        self.was_sent |= written;
        if self.was_sent && !is_repeatable(self.command) {
            self.lose(reason.clone());
            return None;
        }
        self.stage.wait(self.was_sent);
        Some(self)
    }

    /// There will be no reply.
    pub(crate) fn lose(self, reason: CloseReason) {
        let _ = self.reply.send(Err(Lost { sent: self.was_sent, reason }));
    }
}

impl Stage {
    fn start(&self) -> bool {
        self.change(|place| match place {
            Place::GivenUp => Place::GivenUp,
            _ => Place::Sent,
        }) != Place::GivenUp
    }

    fn wait(&self, was_sent: bool) {
        self.change(|place| match place {
            Place::GivenUp => Place::GivenUp,
            _ => Place::Waiting { was_sent },
        });
    }

    /// Keeps a call that was not sent from being sent. Returns whether it was.
    pub(crate) fn give_up(&self) -> bool {
        match self.change(|_| Place::GivenUp) {
            Place::Waiting { was_sent } => was_sent,
            Place::Sent | Place::GivenUp => true,
        }
    }

    /// Returns what was there before.
    fn change(&self, to: impl FnOnce(Place) -> Place) -> Place {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *place;
        *place = to(before);
        before
    }
}

/// Whether doing it twice is the same as doing it once.
pub(crate) fn is_repeatable(command: &str) -> bool {
    changes_nothing(command)
        || matches!(
            command,
            "ack" | "post" | "block" | "unblock" | "privacy" | "watch" | "unwatch" | "logout"
        )
}

fn changes_nothing(command: &str) -> bool {
    matches!(
        command,
        "hello"
            | "ping"
            | "list"
            | "user_aktif"
            | "whoami"
            | "sessions"
            | "peek"
            | "history"
            | "status"
    )
}

/// A command as the bytes of a line, at most `max_frame_bytes` without its end.
pub(crate) fn encode(
    command: &Command<'_>,
    max_frame_bytes: usize,
) -> Result<BytesMut, InvalidRequest> {
    let mut codec = ClientCodec::default();
    codec.set_max_request_bytes(max_frame_bytes);
    let mut line = BytesMut::new();
    match codec.encode(command, &mut line) {
        Ok(()) => Ok(line),
        Err(CodecError::Unencodable { command, reason }) => {
            Err(InvalidRequest::Argument { command, reason })
        }
        Err(error) => {
            Err(InvalidRequest::Argument { command: command.name(), reason: error.to_string() })
        }
    }
}
