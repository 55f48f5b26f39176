//! [`Network`]: TCP as the server and its peers can meet it. Connections with latency, a bounded window, half-close, reset,
//! partitions, cuts that one end or neither is told of, and a host that loses power.
//!
//! It is a queue of segments for each direction, each segment with the time it arrives; readers wait for that time on the
//! runtime's paused clock, so that no task of the network's own is needed and an idle hour costs nothing.

mod socket;
mod wire;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use chat_server::Listener;
use fastrand::Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::rng::millis;
pub(crate) use socket::Socket;
use wire::{DEVICE, SERVER, Wire};

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
