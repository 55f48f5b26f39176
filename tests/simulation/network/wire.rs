//! [`Wire`]: one connection, a queue of segments for each direction.

use std::collections::VecDeque;
use std::io;
use std::task::Waker;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use fastrand::Rng;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::{Cut, Outage, Weather};
use crate::rng::millis;

pub(super) const DEVICE: usize = 0;
pub(super) const SERVER: usize = 1;

/// One connection.
pub(super) struct Wire {
    rng: Rng,
    weather: Weather,
    pub(super) held_until: Instant,
    /// What is sent goes nowhere.
    dead: bool,
    pub(super) ends: [End; 2],
}

/// What one end has, and what is on its way there.
#[derive(Default)]
pub(super) struct End {
    pub(super) arriving: VecDeque<(Instant, Segment)>,
    /// Bytes sent here and not read.
    unread: usize,
    /// It read the end of the stream.
    ended: bool,
    failed: Option<io::ErrorKind>,
    /// It sent its end of stream.
    pub(super) shut: bool,
    /// Its program let go of it.
    gone: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

pub(super) enum Segment {
    Data(Bytes),
    End,
    Failure(io::ErrorKind),
}

impl Wire {
    pub(super) fn new(rng: Rng, weather: Weather, held_until: Instant) -> Self {
        Self { rng, weather, held_until, dead: false, ends: Default::default() }
    }

    /// Puts a segment on its way, behind those before it.
    pub(super) fn send(&mut self, to: usize, segment: Segment) {
        if self.dead {
            return;
        }
        if self.ends[to].gone {
            if matches!(segment, Segment::Data(_)) {
                self.reset(1 - to);
            }
            return;
        }
        let delay = millis(&mut self.rng, self.weather.latency);
        self.send_after(to, delay, segment);
    }

    fn send_after(&mut self, to: usize, delay: Duration, segment: Segment) {
        let end = &mut self.ends[to];
        let before = end.arriving.back().map(|(at, _)| *at);
        let at = before.max(Some(Instant::now() + delay)).expect("one of them is there");
        end.arriving.push_back((at, segment));
        end.wake();
    }

    /// Tells an end that the other one reset. That may overtake what is still on its way.
    fn reset(&mut self, to: usize) {
        if self.dead {
            return;
        }
        let delay = millis(&mut self.rng, self.weather.latency);
        self.fail_after(to, delay, io::ErrorKind::ConnectionReset);
    }

    fn fail_after(&mut self, to: usize, delay: Duration, kind: io::ErrorKind) {
        let now = Instant::now();
        if self.rng.bool() {
            self.ends[to].arriving.retain(|(at, _)| *at <= now);
        }
        self.send_after(to, delay, Segment::Failure(kind));
    }

    pub(super) fn cut(&mut self, cut: Cut) {
        let (device, server) = match cut {
            Cut::Both => (Duration::ZERO, Duration::ZERO),
            Cut::DeviceOnly => (Duration::ZERO, KEEPALIVE),
            Cut::ServerOnly => (KEEPALIVE, Duration::ZERO),
        };
        for (end, after) in [(DEVICE, device), (SERVER, server)] {
            let kind = match after.is_zero() {
                true => io::ErrorKind::ConnectionReset,
                false => io::ErrorKind::TimedOut,
            };
            self.fail_after(end, after, kind);
        }
        self.dead = true;
    }

    pub(super) fn lose_server(&mut self, outage: Outage) {
        let latency = self.weather.latency;
        let after = match outage {
            Outage::Process => millis(&mut self.rng, latency),
            Outage::Machine => millis(&mut self.rng, KEEPALIVE),
        };
        self.fail_after(DEVICE, after, io::ErrorKind::ConnectionReset);
        self.dead = true;
    }

    /// Whether what has this time is there.
    pub(super) fn is_due(&self, at: Instant) -> bool {
        self.due(at) <= Instant::now()
    }

    pub(super) fn due(&self, at: Instant) -> Instant {
        at.max(self.held_until)
    }

    /// When the failure comes that is on its way.
    pub(super) fn failure_at(&self, side: usize) -> Option<Instant> {
        let arriving = &self.ends[side].arriving;
        let failure = arriving.iter().find(|(_, segment)| matches!(segment, Segment::Failure(_)));
        failure.map(|(at, _)| self.due(*at))
    }

    /// Why the connection cannot be written to any more.
    pub(super) fn failure(&mut self, side: usize) -> Option<io::ErrorKind> {
        let end = &self.ends[side];
        if end.failed.is_some() {
            return end.failed;
        }
        end.arriving.iter().find_map(|(at, segment)| match segment {
            Segment::Failure(kind) if self.is_due(*at) => Some(*kind),
            _ => None,
        })
    }

    /// Reads what is there, some of it at least; `None` if nothing is.
    pub(super) fn read(&mut self, side: usize, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
        if let Some(kind) = self.ends[side].failed {
            return Some(Err(kind.into()));
        }
        if self.ends[side].ended || buffer.remaining() == 0 {
            return Some(Ok(()));
        }
        let at = self.ends[side].arriving.front()?.0;
        if !self.is_due(at) {
            return None;
        }
        let most = self.some_of(buffer.remaining());
        let end = &mut self.ends[side];
        let done = match &mut end.arriving.front_mut()?.1 {
            Segment::End => {
                end.ended = true;
                Ok(true)
            }
            Segment::Failure(kind) => {
                end.failed = Some(*kind);
                Err(io::Error::from(*kind))
            }
            Segment::Data(data) => {
                let count = most.min(data.len());
                buffer.put_slice(&data[..count]);
                data.advance(count);
                end.unread -= count;
                Ok(data.is_empty())
            }
        };
        match done {
            Ok(true) => drop(end.arriving.pop_front()),
            Ok(false) => {}
            Err(error) => return Some(Err(error)),
        }
        self.ends[1 - side].wake();
        Some(Ok(()))
    }

    /// Accepts some of these bytes for sending; `None` if there is no room.
    pub(super) fn write(&mut self, side: usize, bytes: &[u8]) -> Option<io::Result<usize>> {
        if let Some(kind) = self.failure(side) {
            return Some(Err(kind.into()));
        }
        if self.ends[side].shut {
            return Some(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = self.weather.window.saturating_sub(self.ends[1 - side].unread);
        if room == 0 {
            return None;
        }
        let count = self.some_of(room.min(bytes.len()));
        self.ends[1 - side].unread += count;
        self.send(1 - side, Segment::Data(Bytes::copy_from_slice(&bytes[..count])));
        Some(Ok(count))
    }

    /// All of so many, or now and then fewer.
    fn some_of(&mut self, most: usize) -> usize {
        match most > 1 && self.jitters() {
            true => self.rng.usize(1..most),
            false => most,
        }
    }

    pub(super) fn jitters(&mut self) -> bool {
        self.rng.u8(..) < self.weather.jitter
    }

    pub(super) fn let_go(&mut self, side: usize, resets: bool) {
        if std::mem::replace(&mut self.ends[side].gone, true) {
            return;
        }
        let end = &self.ends[side];
        let unread = end.arriving.iter().any(|(_, segment)| matches!(segment, Segment::Data(_)));
        if end.failed.is_some() {
            return;
        }
        // As a socket does that is closed with unread input.
        if resets || unread {
            self.reset(1 - side);
        } else if !end.shut {
            self.send(1 - side, Segment::End);
        }
    }
}

impl End {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }
}

/// When an end that is not told finds out that the other one is gone.
const KEEPALIVE: Duration = Duration::from_secs(120);
