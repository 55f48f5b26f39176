//! The program, floors and scripted servers.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::thread;

use rustix::process::Pid;
use serde_json::Value;

/// The program with these arguments, a word each.
pub(crate) fn program(arguments: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments.split_whitespace()).stdin(Stdio::null());
    command
}

/// Begins it, with all that it says kept.
pub(crate) fn start(arguments: &str) -> Child {
    program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

pub(crate) fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

pub(crate) fn load(address: &str, options: &str) -> Output {
    program(&format!("--server {address} {options}")).output().unwrap()
}

pub(crate) fn load_json(address: &str, options: &str) -> Value {
    let output = load(address, &format!("{options} --json"));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A floor that is ended with the test.
pub(crate) struct Floor {
    pub(crate) child: Child,
    pub(crate) address: String,
}

impl Floor {
    pub(crate) fn start(kind: &str) -> Self {
        let mut child = program(&format!("floor {kind}")).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").expect("an address").to_owned();
        Self { child, address }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        // It may have ended by itself, which the test then says.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves any number of connections from threads that end with the test. An empty answer is none; a panic ends the
/// connection.
pub(crate) fn serve<A: AsRef<str>>(answer: impl Fn(&str) -> A + Send + Sync + 'static) -> String {
    serve_with(move |stream| converse(stream, &answer))
}

/// The same, a connection at a time in the hands of the test.
pub(crate) fn serve_with(converse: impl Fn(&mut &TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let converse = Arc::new(converse);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let converse = Arc::clone(&converse);
            thread::spawn(move || {
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                converse(&mut &stream);
            });
        }
    });
    address
}

fn converse<A: AsRef<str>>(stream: &mut &TcpStream, answer: &impl Fn(&str) -> A) {
    let lines = BufReader::new(*stream).lines();
    for line in lines.map_while(Result::ok) {
        let answer = answer(&line);
        let reply = answer.as_ref();
        if !reply.is_empty() && stream.write_all(format!("{reply}\r\n\r\n").as_bytes()).is_err() {
            return;
        }
    }
}

pub(crate) fn error(code: &str) -> String {
    format!(r#"{{"status": "ERROR", "message": "m", "code": "{code}"}}"#)
}

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_chat-load");
pub(crate) const SENT: &str = r#"{"status": "OK", "message": "Message Sent"}"#;
pub(crate) const LOGGED_IN: &str = r#"{"status": "OK", "tokenid": "a-token"}"#;
