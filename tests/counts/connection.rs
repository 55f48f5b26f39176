//! Request bytes to reply bytes, through a whole server.

use std::io;
use std::iter::repeat_n;

use chat_core::Token;
use chat_core::store::SessionKey;
use chat_server::{Listener, Server, ServerConfig};
use gungraun::{library_benchmark, library_benchmark_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::host::{BODY, Host, USERS, user};

library_benchmark_group!(name = served, benchmarks = [send_256, ask]);

/// Connections with users that are logged in, and for each turn what each of them asks.
struct Crowd {
    host: Host,
    clients: Vec<DuplexStream>,
    turns: Vec<Vec<String>>,
    /// Bytes of all replies to one connection's share of a turn.
    reply_bytes: usize,
    input: Vec<u8>,
}

// 256 messages, one to each user, by so many connections with so many requests in flight.
#[library_benchmark]
#[bench::by_1_connection(sending(1, 1))]
#[bench::by_1_connection_16_in_flight(sending(1, 16))]
#[bench::by_16_connections(sending(16, 1))]
#[bench::by_16_connections_16_in_flight(sending(16, 16))]
fn send_256(crowd: Crowd) -> Crowd {
    crowd.exchange()
}

// A request, warm.
#[library_benchmark]
#[bench::inbox_of_50(asking("inbox TOKEN", 50, 1))]
#[bench::peek_of_50(asking("peek TOKEN - 50", 50, 1))]
#[bench::whoami(asking("whoami TOKEN", 0, 1))]
#[bench::ping(asking("ping", 0, 1))]
#[bench::auth_without_the_hash_16_times(asking("auth user000 surabaya", 0, 16))]
fn ask((mut crowd, request, times): (Crowd, String, usize)) -> Crowd {
    for _ in 0..times {
        crowd.ask(0, &request);
    }
    crowd
}

impl Crowd {
    fn new(connections: usize) -> (Self, Vec<String>) {
        let mut host = Host::new();
        let tokens = host.log_in(connections);
        (0..2).for_each(|_| host.send_everybody_one(SessionKey::of(&tokens[0])));
        let server = Server::new(host.store.clone(), ServerConfig::default()).unwrap();
        let (pipes, accepted) = mpsc::channel(connections);
        host.spawn(async move {
            server.serve(Pipes(accepted), CancellationToken::new()).await;
        });
        let mut clients = Vec::new();
        for _ in 0..connections {
            let (client, served) = duplex(PIPE_BYTES);
            assert!(pipes.try_send(served).is_ok());
            clients.push(client);
        }
        let tokens = tokens.iter().map(Token::expose).collect();
        let input = Vec::with_capacity(PIPE_BYTES);
        (Self { host, clients, turns: Vec::new(), reply_bytes: 0, input }, tokens)
    }

    /// Has one connection ask one thing; the reply.
    fn ask(&mut self, client: usize, request: &str) -> &str {
        let Self { host, clients, input, .. } = self;
        let client = &mut clients[client];
        input.clear();
        host.run(async {
            client.write_all(request.as_bytes()).await.unwrap();
            while !input.ends_with(b"\r\n\r\n") {
                client.read_buf(input).await.unwrap();
            }
        });
        str::from_utf8(input).unwrap()
    }

    /// Takes all turns: in each, every connection writes its requests, and then reads its replies.
    fn exchange(mut self) -> Self {
        let Self { host, clients, turns, reply_bytes, input } = &mut self;
        host.run(async {
            for turn in turns {
                for (client, requests) in clients.iter_mut().zip(turn) {
                    client.write_all(requests.as_bytes()).await.unwrap();
                }
                for client in &mut *clients {
                    input.clear();
                    while input.len() < *reply_bytes {
                        client.read_buf(input).await.unwrap();
                    }
                }
            }
        });
        self
    }
}

fn sending(connections: usize, in_flight: usize) -> Crowd {
    let (mut crowd, tokens) = Crowd::new(connections);
    let request = |client: usize, to| format!("send {} {} {BODY}\r\n", tokens[client], user(to));
    for client in 0..connections {
        let reply = crowd.ask(client, &request(client, client));
        assert!(reply.contains("Message Sent"), "{reply}");
        crowd.reply_bytes = reply.len() * in_flight;
    }
    let share = |first| move |client| (first + client * in_flight, client);
    crowd.turns = (0..USERS)
        .step_by(connections * in_flight)
        .map(|first| {
            let requests = |(first, client): (usize, usize)| {
                (first..first + in_flight).map(|to| request(client, to)).collect()
            };
            (0..connections).map(share(first)).map(requests).collect()
        })
        .collect();
    crowd
}

/// One connection that asked the same before, and whose user got so many messages since.
fn asking(request: &str, mail: usize, times: usize) -> (Crowd, String, usize) {
    let (mut crowd, tokens) = Crowd::new(1);
    let request = format!("{}\r\n", request.replace("TOKEN", &tokens[0]));
    let send = format!("send {} {} {BODY}\r\n", tokens[0], user(0));
    for first in ["hello explicit_ack\r\n", &request].into_iter().chain(repeat_n(&*send, mail)) {
        let reply = crowd.ask(0, first);
        assert!(reply.contains("\"OK\""), "{reply}");
    }
    (crowd, request, times)
}

/// Accepts the server's ends of pipes.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Transport = DuplexStream;

    async fn accept(&mut self) -> io::Result<(DuplexStream, String)> {
        match self.0.recv().await {
            Some(pipe) => Ok((pipe, "pipe".into())),
            None => std::future::pending().await,
        }
    }
}

/// More than is ever in flight.
const PIPE_BYTES: usize = 256 * 1024;
