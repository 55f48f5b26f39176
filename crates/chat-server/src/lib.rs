//! chat-server.
