//! [`Wire`]: one connection, and the faults that befall it.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use chat_core::protocol::{ClientCodec, CodecError, Command, Event, Frame};
use fastrand::Rng;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::codec::{Decoder as _, Encoder as _};

use super::fact::Ending;
use super::schedule::Between;

/// A connection to the server under test.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    codec: ClientCodec,
    input: BytesMut,
    output: BytesMut,
    /// Requests without an answer.
    waiting: usize,
    fate: Fate,
    over: watch::Receiver<bool>,
    patience: Duration,
}

/// The faults that wait for a connection.
#[derive(Debug)]
pub(crate) struct Fate {
    cut_at: Option<Instant>,
    pauses: Option<Between>,
    pause_at: Option<Instant>,
    paused: Option<Instant>,
    random: Rng,
}

/// What came.
#[derive(Debug)]
pub(crate) enum Incoming {
    Event(Event<'static>),
    Reply(Frame),
}

/// Why a connection is of no more use.
#[derive(Debug)]
pub(crate) enum Lost {
    /// It was its fate.
    Cut,
    /// The run is over.
    Over,
    /// The server ended it, or is gone.
    Ended,
    /// The server does what no server may.
    Trouble(String),
}

impl Wire {
    pub(crate) fn new(
        stream: TcpStream,
        fate: Fate,
        over: watch::Receiver<bool>,
        patience: Duration,
    ) -> Self {
        Self {
            stream,
            codec: ClientCodec::default(),
            input: BytesMut::new(),
            output: BytesMut::new(),
            waiting: 0,
            fate,
            over,
            patience,
        }
    }

    /// Puts a request behind those that leave with the next [`flush`](Self::flush).
    pub(crate) fn put(&mut self, command: &Command<'_>) -> Result<(), Lost> {
        self.codec
            .encode(command, &mut self.output)
            .map_err(|error| Lost::Trouble(error.to_string()))?;
        self.waiting += 1;
        Ok(())
    }

    /// Has what was put leave.
    pub(crate) async fn flush(&mut self) -> Result<(), Lost> {
        let Self { stream, output, fate, over, .. } = self;
        tokio::select! {
            biased;
            lost = fate.strikes(over) => Err(lost),
            written = stream.write_all_buf(output) => written.map_err(|_| Lost::Ended),
        }
    }

    /// The next event or reply.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Lost> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Some(incoming) = self.ready()? {
                return Ok(incoming);
            }
            match timeout_at(deadline, self.fill()).await {
                Ok(outcome) => outcome?,
                Err(_) if self.waiting == 0 => {}
                Err(_) => {
                    let patience = self.patience;
                    return Err(Lost::Trouble(format!("no answer in {patience:?}")));
                }
            }
        }
    }

    /// As [`next`](Self::next), but none when nothing comes in time.
    pub(crate) async fn next_until(&mut self, deadline: Instant) -> Result<Option<Incoming>, Lost> {
        loop {
            if let Some(incoming) = self.ready()? {
                return Ok(Some(incoming));
            }
            match timeout_at(deadline, self.fill()).await {
                Ok(outcome) => outcome?,
                Err(_) => return Ok(None),
            }
        }
    }

    /// Does nothing for a while.
    pub(crate) async fn idle(&mut self, time: Duration) -> Result<(), Lost> {
        tokio::select! {
            biased;
            lost = self.fate.strikes(&mut self.over) => Err(lost),
            () = sleep(time) => Ok(()),
        }
    }

    /// Ends the connection: the orderly way only when told to be `gentle` and nothing is unanswered, because a page that
    /// is under way then would count as delivered without having been read.
    pub(crate) fn hang_up(self, lost: &Lost, gentle: bool) -> Ending {
        match lost {
            Lost::Ended => Ending::Lost,
            _ if gentle && self.waiting == 0 => Ending::Closed,
            Lost::Cut | Lost::Over | Lost::Trouble(_) => {
                // A connection that is broken already needs no reset.
                let _ = self.stream.set_zero_linger();
                Ending::Reset
            }
        }
    }

    /// Whether every request has its answer.
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting == 0
    }

    /// What came already and was not taken.
    pub(crate) fn ready(&mut self) -> Result<Option<Incoming>, Lost> {
        let frame = match self.codec.decode(&mut self.input) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(None),
            Err(CodecError::Io(_)) => return Err(Lost::Ended),
            Err(error) => return Err(Lost::Trouble(error.to_string())),
        };
        let event = Event::decode(&frame).map_err(|error| Lost::Trouble(error.to_string()))?;
        if let Some(event) = event {
            return Ok(Some(Incoming::Event(event)));
        }
        match self.waiting.checked_sub(1) {
            Some(waiting) => self.waiting = waiting,
            None => return Err(Lost::Trouble("a reply that nobody asked for".to_owned())),
        }
        Ok(Some(Incoming::Reply(frame)))
    }

    /// Reads once, after a pause if it is time for one. Cancel safe: what was read is in the buffer, and a pause goes on.
    async fn fill(&mut self) -> Result<(), Lost> {
        let paused = self.fate.paused_until(Instant::now());
        let Self { stream, input, fate, over, .. } = self;
        let read = async {
            if let Some(paused) = paused {
                sleep_until(paused).await;
            }
            stream.read_buf(input).await
        };
        tokio::select! {
            biased;
            lost = fate.strikes(over) => Err(lost),
            read = read => match read {
                Ok(0) | Err(_) => Err(Lost::Ended),
                Ok(_) => Ok(()),
            },
        }
    }
}

impl Fate {
    /// Nothing happens to it.
    pub(crate) fn none() -> Self {
        Self { cut_at: None, pauses: None, pause_at: None, paused: None, random: Rng::with_seed(0) }
    }

    /// It is cut after one of the times in `cuts`, and stops reading every now and then for one of those in `pauses`.
    pub(crate) fn new(cuts: Option<Between>, pauses: Option<Between>, mut random: Rng) -> Self {
        let now = Instant::now();
        let cut_at = cuts.map(|cuts| now + cuts.pick(&mut random));
        let pause_at = pauses.map(|pauses| now + pauses.pick(&mut random) * BETWEEN_PAUSES);
        Self { cut_at, pauses, pause_at, paused: None, random }
    }

    /// Until when nothing is read.
    fn paused_until(&mut self, now: Instant) -> Option<Instant> {
        let pauses = self.pauses?;
        if self.pause_at.is_some_and(|at| now >= at) {
            let end = now + pauses.pick(&mut self.random);
            self.paused = Some(end);
            self.pause_at = Some(end + pauses.pick(&mut self.random) * BETWEEN_PAUSES);
        }
        self.paused.filter(|end| now < *end)
    }

    /// Waits until the connection is cut or the run is over.
    async fn strikes(&self, over: &mut watch::Receiver<bool>) -> Lost {
        let cut = async {
            match self.cut_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = cut => Lost::Cut,
            // The court outlives its clients; if not, the run is over, too.
            _ = over.wait_for(|over| *over) => Lost::Over,
        }
    }
}

impl From<io::Error> for Lost {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

/// A client reads four times as long as it does not, on average.
const BETWEEN_PAUSES: u32 = 4;
