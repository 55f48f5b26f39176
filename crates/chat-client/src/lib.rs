//! chat-client.
