//! A Redis server that starts parked: a replica of nowhere, empty, until its agent says otherwise.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::{credentials::Secret, security::Security};

use super::{Launch, ProvisionError, find_program, make_empty_dir, output_of, write};

/// Address that no Redis listens on: a replica of it is parked. A server that starts like this never
/// looks like an empty master, so replicas that reconnect to it get an error instead of its emptiness.
pub const PARKED: (&str, u16) = ("127.0.0.1", 1);

/// Redis on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// `7.0.15`.
    pub version: String,
    /// The `redis-server` program.
    pub program: PathBuf,
}

/// Finds `redis-server` in `PATH` and the usual directories.
pub fn find() -> Result<Installation, ProvisionError> {
    let program =
        find_program("redis-server", std::env::var_os("PATH")).ok_or_else(|| ProvisionError::Missing {
            what: "redis-server (looked in PATH and the usual directories)".into(),
            package: "redis-server",
        })?;
    let text = output_of(&program, &["--version"])?;
    let version = parse_version(&text).ok_or_else(|| ProvisionError::Unusable {
        command: format!("{} --version", program.display()),
        why: format!("no version in {:?}", text.trim()),
    })?;
    Ok(Installation { version, program })
}

fn parse_version(text: &str) -> Option<String> {
    let rest = text.split(" v=").nth(1)?;
    Some(rest.split_whitespace().next()?.to_owned())
}

/// One Redis server to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address to listen on; `0.0.0.0` in a namespace of its own.
    pub bind: IpAddr,
    /// Port to listen on.
    pub port: u16,
    /// Directory of its own. It is wiped at every start: a left-over dump must not be taken for data.
    pub dir: PathBuf,
    /// What the passwords of the cluster are derived from.
    pub secret: Secret,
    /// TLS for clients and replication, with the plain port closed, or neither. The files must lie elsewhere: the
    /// directory is wiped.
    pub security: Security,
}

impl Server {
    /// Wipes the directory, writes `redis.conf` and says how to start the server. Call it before every
    /// start, also before a restart.
    pub fn prepare(&self, installation: &Installation) -> Result<Launch, ProvisionError> {
        make_empty_dir(&self.dir)?;
        let conf = self.dir.join("redis.conf");
        write(&conf, &self.conf())?;
        Ok(Launch {
            argv: vec![installation.program.clone().into(), conf.into()],
            env: Vec::new(),
            cwd: self.dir.clone(),
        })
    }

    /// The text of `redis.conf`.
    pub fn conf(&self) -> String {
        let (park_host, park_port) = PARKED;
        let (agent, reader) = (self.secret.agent(), self.secret.reader());
        format!(
            "bind {bind}\n\
             {ports}\
             protected-mode no\n\
             daemonize no\n\
             dir {dir}\n\
             # Parked until the agent says whom to follow.\n\
             replicaof {park_host} {park_port}\n\
             # Nobody gets in but agents; they open the door to clients and replicas, epoch by epoch.\n\
             user default off\n\
             user {agent} on >{agent_password} ~* &* +@all\n\
             user {reader} on >{reader_password} ~* +@all -@write -@admin -@dangerous\n\
             # Memory only: a restarted server is empty and gets its data from the master.\n\
             save \"\"\n\
             appendonly no\n\
             rdb-del-sync-files yes\n\
             maxmemory 0\n\
             # WAIT times out by the server's clock tick: 10 ms instead of 100.\n\
             hz 100\n\
             dynamic-hz no\n\
             repl-diskless-sync yes\n\
             repl-diskless-sync-delay 0\n\
             repl-diskless-load disabled\n\
             repl-ping-replica-period 1\n\
             repl-timeout 5\n\
             repl-backlog-size 64mb\n\
             replica-serve-stale-data yes\n\
             replica-read-only yes\n\
             client-output-buffer-limit replica 0 0 0\n\
             tcp-keepalive 10\n",
            agent = agent.user,
            agent_password = agent.password,
            reader = reader.user,
            reader_password = reader.password,
            bind = self.bind,
            ports = self.ports(),
            dir = quoted(&self.dir.to_string_lossy()),
        )
    }

    fn ports(&self) -> String {
        let Security::Tls(files) = &self.security else { return format!("port {}\n", self.port) };
        let path = |path: &Path| quoted(&path.to_string_lossy());
        format!(
            "# Certificates on both sides of every connection; no plain port.\n\
             port 0\n\
             tls-port {port}\n\
             tls-replication yes\n\
             tls-auth-clients yes\n\
             tls-ca-cert-file {ca}\n\
             tls-cert-file {cert}\n\
             tls-key-file {key}\n",
            port = self.port,
            ca = path(&files.ca),
            cert = path(&files.cert),
            key = path(&files.key),
        )
    }
}

/// A string as `redis.conf` reads it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::TlsFiles;

    #[test]
    fn the_version_is_read() {
        let text =
            "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0\n";
        assert_eq!(parse_version(text).as_deref(), Some("7.0.15"));
        assert_eq!(parse_version("usage: …"), None);
    }

    fn server(dir: PathBuf, security: Security) -> Server {
        let secret = Secret::new("hush");
        Server { bind: [0, 0, 0, 0].into(), port: 6400, dir, secret, security }
    }

    #[test]
    fn under_tls_the_plain_port_is_closed() {
        let files = TlsFiles { ca: "/t/ca.pem".into(), cert: "/t/cert.pem".into(), key: "/t/key.pem".into() };
        let conf = server("/x".into(), Security::Tls(files)).conf();
        for line in ["port 0", "tls-port 6400", "tls-replication yes", "tls-key-file \"/t/key.pem\""] {
            assert!(conf.lines().any(|l| l == line), "{line}: {conf}");
        }
        assert!(!server("/x".into(), Security::Plain).conf().contains("tls"));
    }

    #[test]
    fn a_server_starts_parked_and_wiped() {
        let dir = tempfile::tempdir().unwrap();
        let server = server(dir.path().join("a \"b\""), Security::Plain);
        std::fs::create_dir_all(&server.dir).unwrap();
        std::fs::write(server.dir.join("dump.rdb"), "old").unwrap();
        let installation = Installation { version: "7".into(), program: "/usr/bin/redis-server".into() };
        let launch = server.prepare(&installation).unwrap();
        assert!(!server.dir.join("dump.rdb").exists());
        let conf = std::fs::read_to_string(server.dir.join("redis.conf")).unwrap();
        assert!(
            conf.contains("\nreplicaof 127.0.0.1 1\nuser ") || conf.contains("\nreplicaof 127.0.0.1 1\n# "),
            "{conf}"
        );
        assert!(conf.contains("\nuser default off\n") && !conf.contains("hush"), "{conf}");
        assert!(conf.contains("\nsave \"\"\n"));
        assert!(conf.contains("a \\\"b\\\"\"\n"), "{conf}");
        assert_eq!(launch.argv[0], "/usr/bin/redis-server");
        assert_eq!(launch.cwd, server.dir);
    }
}
