//! The control socket: how commands reach the daemon that holds the store.
//!
//! A Unix socket that only its owner and root can open. JSON lines: the daemon says [`wire::Greeting`] first; then each line
//! is a [`Request`] and each answer a `Result<Answer, Refusal>`. Whether a command goes through the socket or to a
//! store of its own, the same [`session::Session`] carries it out.

mod audit;
mod client;
mod line;
mod operator;
mod place;
mod server;
mod session;
mod wire;

pub(crate) use operator::{First, Operator};
pub(crate) use place::{Place, find};
pub(crate) use server::ControlSocket;
pub(crate) use wire::{AccountRow, Answer, Request, Secret, StagedAccount};
