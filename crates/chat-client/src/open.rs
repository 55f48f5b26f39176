//! Making a connection and finding out what is at its other end.

use chat_core::protocol::{Command, DEFAULT_MAX_FRAME_BYTES, ErrorCode, HelloOptions, Reply};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::client::{understand, unexpected};
use crate::connection::{Bounds, Connection};
use crate::connector::Connector;
use crate::request::encode;
use crate::{ClientError, ConnectOptions, ServerInfo};

/// Connects and says `hello`, within the connect timeout.
pub(crate) async fn open<C: Connector>(
    connector: &C,
    options: &ConnectOptions,
) -> Result<(Connection<C::Stream>, ServerInfo), ClientError> {
    let address = || options.address().to_owned();
    let limit = options.connect_timeout;
    let opening = async {
        let stream = connector
            .connect(options.address())
            .await
            .map_err(|source| ClientError::Connect { address: address(), source })?;
        greet(stream, options).await.map_err(|error| match error {
            ClientError::BadReply(source) => {
                ClientError::NotChatServer { address: address(), source }
            }
            error => error,
        })
    };
    timeout(limit, opening)
        .await
        .unwrap_or_else(|_| Err(ClientError::ConnectTimeout { address: address(), limit }))
}

/// Says `hello` over a stream.
pub(crate) async fn greet<T: AsyncRead + AsyncWrite>(
    stream: T,
    options: &ConnectOptions,
) -> Result<(Connection<T>, ServerInfo), ClientError> {
    let bounds = Bounds {
        in_flight_requests: options.in_flight_requests,
        max_reply_bytes: options.max_reply_bytes,
        reply_timeout: options.reply_timeout,
    };
    let mut connection = Connection::new(stream, bounds);
    let server = say_hello(&mut connection, options).await?;
    if server.is_legacy() {
        connection.set_in_flight_requests(1);
    }
    Ok((connection, server))
}

async fn say_hello<T: AsyncRead + AsyncWrite>(
    connection: &mut Connection<T>,
    options: &ConnectOptions,
) -> Result<ServerInfo, ClientError> {
    let command = "hello";
    let limit = options.request_timeout;
    let hello = Command::Hello(HelloOptions { explicit_ack: true });
    let line = encode(&hello, DEFAULT_MAX_FRAME_BYTES)?;
    let frame = timeout(limit, connection.exchange(&line))
        .await
        .map_err(|_| ClientError::Timeout { command, limit, sent: true })?
        .map_err(|reason| ClientError::Closed { command, sent: true, reason })?;
    match understand(command, &frame) {
        Ok(Reply::Hello(hello)) => Ok(ServerInfo::Current(hello)),
        Ok(_) => Err(unexpected(command)),
        Err(error) if error.code() == Some(&ErrorCode::BadCommand) => Ok(ServerInfo::Legacy),
        Err(error) => Err(error),
    }
}
