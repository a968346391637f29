//! A connection to one Redis: made once, never made again behind one's back.
//!
//! Thin over `redis::aio::MultiplexedConnection`: our own socket (so it belongs to the namespace of the
//! thread) with or without TLS, no response timeout (the caller's deadline decides), no reconnect. When the connection breaks,
//! its owner sees it and opens another.

use std::{io, net::SocketAddr, time::Duration};

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, RedisError, ServerError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use thiserror::Error;
use tokio::time::timeout;

use crate::{credentials::Login, security::Transport, zk::AbortOnDrop};

/// Why a Redis could not be talked to.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Nothing was sent.
    #[error("{}", connect_reason(.0))]
    Connect(io::Error),
    /// The request may or may not have arrived.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The server said no.
    #[error("{}", server_reason(.0))]
    Refused(ServerError),
    /// No answer within the time given.
    #[error("no answer within {0} ms")]
    Silent(u128),
    /// An answer of an unexpected shape.
    #[error("unexpected answer: {0}")]
    Odd(String),
}

/// Short and stable words for a failed connect.
pub fn connect_reason(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::TimedOut => "connect timed out",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "host unreachable",
        io::ErrorKind::ConnectionReset => "connection reset before anything was sent",
        // What the TLS library makes of a certificate or an answer it does not like.
        io::ErrorKind::InvalidData => "tls handshake refused",
        io::ErrorKind::UnexpectedEof => "closed during the tls handshake",
        _ => "cannot connect",
    }
}

/// The code of an error reply with its text.
pub fn server_reason(e: &ServerError) -> String {
    match e.details() {
        Some(details) => format!("{} {details}", e.code()),
        None => e.code().to_owned(),
    }
}

/// An open connection. Dropping it closes the socket at once, replies in flight included.
pub struct RedisLink {
    mux: MultiplexedConnection,
    driver: AbortOnDrop,
}

impl RedisLink {
    /// Connects by way of `transport`, waiting no longer than `limit`. Sends no command.
    pub async fn connect(
        addr: SocketAddr,
        limit: Duration,
        transport: &Transport,
    ) -> Result<Self, LinkError> {
        let stream = transport.connect(addr, limit).await.map_err(LinkError::Connect)?;
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (mux, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|e| LinkError::Lost(e.to_string()))?;
        Ok(RedisLink { mux, driver: AbortOnDrop(tokio::spawn(driver)) })
    }

    /// Connects and logs in, waiting no longer than `limit` for each. A refused login is [`LinkError::Refused`].
    pub async fn connect_as(
        addr: SocketAddr,
        login: &Login,
        limit: Duration,
        transport: &Transport,
    ) -> Result<Self, LinkError> {
        let mut link = RedisLink::connect(addr, limit, transport).await?;
        let mut auth = redis::cmd("AUTH");
        auth.arg(&login.user).arg(&login.password);
        link.command(&auth, limit).await?;
        Ok(link)
    }

    /// Whether the connection is known to be closed.
    pub fn is_closed(&self) -> bool {
        self.driver.0.is_finished()
    }

    /// Sends `pipeline` in one flush and returns one value per command; an error reply is the value
    /// [`Value::ServerError`], so that it is known which command it answers.
    pub async fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Vec<Value>, RedisError> {
        self.mux.req_packed_commands(pipeline, 0, pipeline.len()).await
    }

    /// Sends one command, waiting no longer than `limit` for the reply.
    pub async fn command(&mut self, cmd: &Cmd, limit: Duration) -> Result<Value, LinkError> {
        match timeout(limit, self.mux.req_packed_command(cmd)).await {
            Err(_) => Err(LinkError::Silent(limit.as_millis())),
            Ok(Ok(Value::ServerError(e))) => Err(LinkError::Refused(e)),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) => match e.clone().into_server_errors() {
                Some(errors) if !errors.is_empty() => Err(LinkError::Refused(errors[0].1.clone())),
                _ => Err(LinkError::Lost(e.to_string())),
            },
        }
    }

    /// `INFO <section>` as text.
    pub async fn info(&mut self, section: &str, limit: Duration) -> Result<Info, LinkError> {
        Info::of(&self.command(redis::cmd("INFO").arg(section), limit).await?)
    }
}

/// The text of `INFO`, by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info(pub String);

impl Info {
    /// The reply to `INFO`.
    pub fn of(reply: &Value) -> Result<Info, LinkError> {
        match reply {
            Value::BulkString(bytes) => Ok(Info(String::from_utf8_lossy(bytes).into_owned())),
            Value::VerbatimString { text, .. } | Value::SimpleString(text) => Ok(Info(text.clone())),
            Value::ServerError(e) => Err(LinkError::Refused(e.clone())),
            other => Err(LinkError::Odd(format!("INFO gave {other:?}"))),
        }
    }

    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(str::trim)
    }

    /// The value of a numeric field, 0 if it is missing.
    pub fn number(&self, field: &str) -> u64 {
        self.get(field).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The replication section as a value.
    pub fn replication(&self) -> Replication {
        let master = self.get("role") == Some("master");
        let of = self.get("master_host").zip(self.get("master_port"));
        Replication {
            master,
            of: of.and_then(|(host, port)| format!("{host}:{port}").parse().ok()),
            linked: self.get("master_link_status") == Some("up"),
            syncing: self.get("master_sync_in_progress") == Some("1"),
            silent_s: self.get("master_last_io_seconds_ago").and_then(|s| s.parse().ok()),
            // A server that never had a master or a replica stands at 0 or, once parked, at 1.
            offset: match self.number(if master { "master_repl_offset" } else { "slave_repl_offset" }) {
                1 => 0,
                offset => offset,
            },
            replicas: self.number("connected_slaves"),
        }
    }
}

/// What a Redis says of its replication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replication {
    /// It accepts writes; else it is a replica, linked or not.
    pub master: bool,
    /// Master it follows or tries to follow.
    pub of: Option<SocketAddr>,
    /// Replica with a live link.
    pub linked: bool,
    /// Replica that is receiving or loading a full copy.
    pub syncing: bool,
    /// Seconds since the replica heard of its master, while linked.
    pub silent_s: Option<i64>,
    /// Bytes of the replication stream written (master) or applied (replica); 0 if there never was one.
    pub offset: u64,
    /// Replicas connected to it.
    pub replicas: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replication_of_a_replica_is_read_from_info() {
        let info = Info(
            "# Replication\r\nrole:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\nmaster_link_status:up\r\n\
             master_last_io_seconds_ago:0\r\nmaster_sync_in_progress:0\r\nslave_read_repl_offset:99\r\n\
             slave_repl_offset:98\r\nconnected_slaves:0\r\nmaster_repl_offset:98\r\n"
                .into(),
        );
        let r = info.replication();
        assert_eq!(r.of, Some("10.0.0.1:6379".parse().unwrap()));
        assert!(!r.master && r.linked && !r.syncing);
        assert_eq!((r.offset, r.silent_s), (98, Some(0)));
    }

    #[test]
    fn replication_of_a_master_takes_its_own_offset() {
        let r = Info("role:master\r\nconnected_slaves:2\r\nmaster_repl_offset:1204\r\n".into()).replication();
        assert!(r.master && !r.linked);
        assert_eq!((r.offset, r.replicas, r.of), (1204, 2, None));
    }

    #[test]
    fn missing_fields_are_zero_or_none() {
        assert_eq!(Info::default().replication(), Replication::default());
        assert_eq!(Info("role:slave\r\nslave_repl_offset:1\r\n".into()).replication().offset, 0);
    }
}
