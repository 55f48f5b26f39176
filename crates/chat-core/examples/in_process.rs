//! A store inside another program, with no socket anywhere: two accounts, a message, its delivery.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use chat_core::account::PasswordParams;
use chat_core::store::{NewAccount, Outgoing, PageLimit, SessionKey, Store, StoreOptions};

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `Store::open(SqliteOptions::new(directory), options)` keeps it on disk instead.
    let mut options = StoreOptions::default();
    options.password = PasswordParams { memory_kib: 64, passes: 1, lanes: 1 };
    let store = Store::in_memory(options)?;

    for (username, name) in [("messi", "Lionel Messi"), ("lineker", "Gary Lineker")] {
        let password = "a-long-secret".into();
        let account = NewAccount { username: username.parse()?, name: name.parse()?, password };
        store.create_account(account).await?;
    }
    let sender = SessionKey::of(&store.login("lineker", "a-long-secret").await?);
    let reader = SessionKey::of(&store.login("messi", "a-long-secret").await?);

    let message = Outgoing::new(sender, "messi", "apa kabar");
    for outcome in store.send(vec![message]).await {
        // From here on the message survives whatever the store's durability promises.
        println!("stored at {}", outcome?.time);
    }

    let limit = PageLimit::bodies(50, 64 * 1024);
    let page = store.inbox(reader, &[], limit).await?;
    for message in &page.messages {
        println!("#{} from {}: {}", message.id, message.from_name, message.body);
    }
    // Only now are they delivered; without this they would be given again.
    if let Some(shown) = page.shown() {
        store.confirm(shown).await;
    }
    assert!(store.inbox(reader, &[], limit).await?.messages.is_empty());

    store.close().await?;
    Ok(())
}
