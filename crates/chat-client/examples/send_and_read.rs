//! Logs in, sends a message to oneself and reads what is new.
//!
//! `cargo run -p chat-client --example send_and_read -- 127.0.0.1:8889 messi surabaya`

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use chat_client::Client;

#[allow(clippy::print_stderr, reason = "a program for people to try")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, username, password] = arguments.as_slice() else {
        eprintln!("usage: send_and_read HOST:PORT USER PASSWORD");
        return ExitCode::from(2);
    };
    match send_and_read(server, username, password, &mut io::stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("send_and_read: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The example itself, apart so that the tests can run it.
pub async fn send_and_read(
    server: &str,
    username: &str,
    password: &str,
    output: &mut impl Write,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(server).await?;
    client.login(username, password).await?;
    client.send(username, "catatan untuk diri sendiri").await?;

    let delivery = client.inbox().await?;
    for message in delivery.messages() {
        writeln!(output, "{}: {}", message.from, message.body)?;
    }
    // Shown, so now they count as delivered. Without this they are there again next time.
    delivery.ack().await?;

    client.logout().await?;
    client.close().await;
    Ok(())
}
