//! [`Network`]: TCP as the server and its peers can meet it. Connections with latency, a bounded window, half-close, reset,
//! partitions, cuts that one end or neither is told of, and a host that loses power.
//!
//! It is a queue of segments for each direction, each segment with the time it arrives; readers wait for that time on the
//! runtime's paused clock, so that no task of the network's own is needed and an idle hour costs nothing.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use chat_server::{Close, Listener, ServerConfig, Transport};
use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::rng::millis;

/// The network between the devices and the one server.
#[derive(Clone)]
pub(crate) struct Network(Arc<Mutex<State>>);

struct State {
    rng: Rng,
    weather: Weather,
    listener: Option<mpsc::Sender<Socket>>,
    /// By device.
    links: Vec<Link>,
}

/// The way between one device and the server.
struct Link {
    held_until: Instant,
    wires: Vec<Weak<Mutex<Wire>>>,
}

/// How the network is on the whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    /// A segment takes up to so long.
    pub(crate) latency: Duration,
    /// Bytes that can be sent and not yet read.
    pub(crate) window: usize,
    /// In 256ths: how often a poll that could go on has to come again, and how often a read or write is cut short.
    pub(crate) jitter: u8,
}

/// How a connection ends that somebody cut.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cut {
    /// Both ends are told.
    Both,
    /// Only the device is told at once; the server finds out by keepalive.
    DeviceOnly,
    /// Only the server is told at once.
    ServerOnly,
}

/// How the server's host goes away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outage {
    /// The process ends; its system resets the connections.
    Process,
    /// The machine is gone; peers hear nothing until it is back and does not know their connections.
    Machine,
}

impl Network {
    pub(crate) fn new(rng: Rng, weather: Weather, devices: usize) -> Self {
        let link = || Link { held_until: Instant::now(), wires: Vec::new() };
        let links = (0..devices).map(|_| link()).collect();
        Self(Arc::new(Mutex::new(State { rng, weather, listener: None, links })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The server listens from now on.
    pub(crate) fn listen(&self) -> SimulatedListener {
        let (sender, receiver) = mpsc::channel(64);
        self.lock().listener = Some(sender);
        SimulatedListener(receiver)
    }

    /// The server listens no more.
    pub(crate) fn stop_listening(&self) {
        self.lock().listener = None;
    }

    /// Connects a device to the server.
    pub(crate) async fn connect(&self, device: usize) -> io::Result<Socket> {
        loop {
            let (wait, held_until) = {
                let mut state = self.lock();
                let latency = state.weather.latency;
                (millis(&mut state.rng, latency * 2), state.links[device].held_until)
            };
            sleep(wait).await;
            if held_until <= Instant::now() {
                break;
            }
            sleep_until(held_until).await;
        }
        let mut state = self.lock();
        let wire = Wire::new(state.rng.fork(), state.weather, state.links[device].held_until);
        let wire = Arc::new(Mutex::new(wire));
        state.links[device].wires.retain(|wire| wire.strong_count() > 0);
        state.links[device].wires.push(Arc::downgrade(&wire));
        let listener = state.listener.as_ref().ok_or(io::ErrorKind::ConnectionRefused)?;
        let ours = Socket::new(Arc::clone(&wire), DEVICE);
        listener
            .try_send(Socket::new(wire, SERVER))
            .map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(ours)
    }

    /// Nothing passes between a device and the server for so long. What was sent meanwhile arrives after.
    pub(crate) fn partition(&self, device: usize, duration: Duration) {
        let until = Instant::now() + duration;
        let mut state = self.lock();
        let link = &mut state.links[device];
        link.held_until = link.held_until.max(until);
        for wire in link.wires.iter().filter_map(Weak::upgrade) {
            wire.lock().unwrap().held_until = link.held_until;
        }
    }

    /// Cuts a device's connections.
    pub(crate) fn cut(&self, device: usize, cut: Cut) {
        let wires: Vec<_> = self.lock().links[device].wires.drain(..).collect();
        for wire in wires.iter().filter_map(Weak::upgrade) {
            wire.lock().unwrap().cut(cut);
        }
    }

    /// The server's host goes away: nothing leaves it any more.
    pub(crate) fn lose_server(&self, outage: Outage) {
        let mut state = self.lock();
        state.listener = None;
        let wires = state.links.iter_mut().flat_map(|link| link.wires.drain(..));
        for wire in wires.filter_map(|wire| wire.upgrade()) {
            wire.lock().unwrap().lose_server(outage);
        }
    }
}

/// Gives the server its connections.
pub(crate) struct SimulatedListener(mpsc::Receiver<Socket>);

impl Listener for SimulatedListener {
    type Transport = Socket;

    async fn accept(&mut self) -> io::Result<(Socket, String)> {
        match self.0.recv().await {
            Some(socket) => Ok((socket, "device".into())),
            None => std::future::pending().await,
        }
    }
}

const DEVICE: usize = 0;
const SERVER: usize = 1;

/// One connection.
struct Wire {
    rng: Rng,
    weather: Weather,
    held_until: Instant,
    /// What is sent goes nowhere.
    dead: bool,
    ends: [End; 2],
}

/// What one end has, and what is on its way there.
#[derive(Default)]
struct End {
    arriving: VecDeque<(Instant, Segment)>,
    /// Bytes sent here and not read.
    unread: usize,
    /// It read the end of the stream.
    ended: bool,
    failed: Option<io::ErrorKind>,
    /// It sent its end of stream.
    shut: bool,
    /// Its program let go of it.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Segment {
    Data(Bytes),
    End,
    Failure(io::ErrorKind),
}

impl Wire {
    fn new(rng: Rng, weather: Weather, held_until: Instant) -> Self {
        Self { rng, weather, held_until, dead: false, ends: Default::default() }
    }

    /// Puts a segment on its way, behind those before it.
    fn send(&mut self, to: usize, segment: Segment) {
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

    fn cut(&mut self, cut: Cut) {
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

    fn lose_server(&mut self, outage: Outage) {
        let latency = self.weather.latency;
        let after = match outage {
            Outage::Process => millis(&mut self.rng, latency),
            Outage::Machine => millis(&mut self.rng, KEEPALIVE),
        };
        self.fail_after(DEVICE, after, io::ErrorKind::ConnectionReset);
        self.dead = true;
    }

    /// Whether what has this time is there.
    fn is_due(&self, at: Instant) -> bool {
        self.due(at) <= Instant::now()
    }

    fn due(&self, at: Instant) -> Instant {
        at.max(self.held_until)
    }

    /// When the failure comes that is on its way.
    fn failure_at(&self, side: usize) -> Option<Instant> {
        let arriving = &self.ends[side].arriving;
        let failure = arriving.iter().find(|(_, segment)| matches!(segment, Segment::Failure(_)));
        failure.map(|(at, _)| self.due(*at))
    }

    /// Why the connection cannot be written to any more.
    fn failure(&mut self, side: usize) -> Option<io::ErrorKind> {
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
    fn read(&mut self, side: usize, buffer: &mut ReadBuf<'_>) -> Option<io::Result<()>> {
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
    fn write(&mut self, side: usize, bytes: &[u8]) -> Option<io::Result<usize>> {
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

    fn jitters(&mut self) -> bool {
        self.rng.u8(..) < self.weather.jitter
    }

    fn let_go(&mut self, side: usize, resets: bool) {
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

/// One end of a connection.
pub(crate) struct Socket {
    wire: Arc<Mutex<Wire>>,
    side: usize,
    /// Whether letting go of it resets the connection.
    resets: bool,
    read_timer: Pin<Box<Sleep>>,
    write_timer: Pin<Box<Sleep>>,
}

impl Socket {
    fn new(wire: Arc<Mutex<Wire>>, side: usize) -> Self {
        let timer = || Box::pin(sleep(Duration::ZERO));
        Self { wire, side, resets: false, read_timer: timer(), write_timer: timer() }
    }

    /// Breaks the connection off.
    pub(crate) fn reset(mut self) {
        self.resets = true;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.wire.lock().unwrap().let_go(self.side, self.resets);
    }
}

/// Waits until that time; `Ready` if it has come.
fn wait(timer: &mut Pin<Box<Sleep>>, until: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(until) = until else {
        return Poll::Pending;
    };
    timer.as_mut().reset(until);
    timer.as_mut().poll(cx)
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let mut wire = this.wire.lock().unwrap();
        if wire.jitters() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(read) = wire.read(this.side, buffer) {
                return Poll::Ready(read);
            }
            let next = wire.ends[this.side].arriving.front().map(|(at, _)| wire.due(*at));
            wire.ends[this.side].reader = Some(cx.waker().clone());
            if wait(&mut this.read_timer, next, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut wire = this.wire.lock().unwrap();
        if wire.jitters() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if let Some(written) = wire.write(this.side, bytes) {
                return Poll::Ready(written);
            }
            let failure = wire.failure_at(this.side);
            wire.ends[this.side].writer = Some(cx.waker().clone());
            if wait(&mut this.write_timer, failure, cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.wire.lock().unwrap();
        if let Some(kind) = wire.failure(self.side) {
            return Poll::Ready(Err(kind.into()));
        }
        if !std::mem::replace(&mut wire.ends[self.side].shut, true) {
            wire.send(1 - self.side, Segment::End);
        }
        Poll::Ready(Ok(()))
    }
}

impl Transport for Socket {
    fn configure(&mut self, _: &ServerConfig) -> io::Result<()> {
        self.resets = true;
        Ok(())
    }

    async fn close(&mut self, how: Close) -> io::Result<()> {
        match how {
            Close::Reset => Ok(()),
            Close::Orderly => {
                self.resets = false;
                self.shutdown().await
            }
        }
    }

    fn peer_has_ended(&self) -> bool {
        let wire = self.wire.lock().unwrap();
        let front = wire.ends[self.side].arriving.front();
        front.is_some_and(|(at, segment)| matches!(segment, Segment::End) && wire.is_due(*at))
    }

    async fn failure(&mut self) -> io::Error {
        poll_fn(|cx| {
            let mut wire = self.wire.lock().unwrap();
            loop {
                if let Some(kind) = wire.failure(self.side) {
                    return Poll::Ready(kind.into());
                }
                let failure = wire.failure_at(self.side);
                wire.ends[self.side].writer = Some(cx.waker().clone());
                if wait(&mut self.write_timer, failure, cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// When an end that is not told finds out that the other one is gone.
const KEEPALIVE: Duration = Duration::from_secs(120);
