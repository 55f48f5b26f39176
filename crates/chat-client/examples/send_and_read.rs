//! Logs in, sends a message to oneself and reads what is new.
//!
//! `cargo run -p chat-client --example send_and_read -- 127.0.0.1:8889 messi surabaya`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;

use chat_client::Client;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(username), Some(password)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: send_and_read HOST:PORT USER PASSWORD".into());
    };

    let client = Client::connect(server).await?;
    client.login(&username, &password).await?;
    client.send(&username, "catatan untuk diri sendiri").await?;

    let delivery = client.inbox().await?;
    for message in delivery.messages() {
        println!("{}: {}", message.from, message.body);
    }
    // Shown, so now they count as delivered. Without this they are there again next time.
    delivery.ack().await?;

    client.logout().await?;
    client.close().await;
    Ok(())
}
