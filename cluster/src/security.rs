//! How the links of a cluster are protected: not at all, or by TLS with certificates on both sides.
//!
//! [`Security`] is what a configuration says, [`Transport`] what a process works with once the files are
//! read. Every connection of an agent, a client or an observer is opened through a transport, so there is no
//! second place that could forget it.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    },
};
use zookeeper_client::{Client, Connector, TlsOptions};

/// What a configuration says about the links: in TOML a table `tls` with `ca`, `cert` and `key`, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Option<TlsFiles>", into = "Option<TlsFiles>")]
pub enum Security {
    /// Nothing is encrypted, nobody proves who they are.
    #[default]
    Plain,
    /// TLS on every link, both sides with a certificate of the same authority.
    Tls(TlsFiles),
}

/// The PEM files of one process. Paths are used as they are: absolute ones survive a change of directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate of the authority that has signed everybody's.
    pub ca: PathBuf,
    /// Own certificate.
    pub cert: PathBuf,
    /// Own private key, PKCS#8. Nobody else should be able to read it.
    pub key: PathBuf,
}

impl From<Option<TlsFiles>> for Security {
    fn from(files: Option<TlsFiles>) -> Self {
        files.map_or(Security::Plain, Security::Tls)
    }
}

impl From<Security> for Option<TlsFiles> {
    fn from(security: Security) -> Self {
        match security {
            Security::Plain => None,
            Security::Tls(files) => Some(files),
        }
    }
}

/// Why the files of a configuration are of no use.
#[derive(Debug, Error)]
pub enum SecurityError {
    /// Some of the three files are named, others not.
    #[error("tls needs three files: {0} is missing, give it or none of --tls-ca, --tls-cert and --tls-key")]
    Incomplete(&'static str),
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is not the PEM it should be.
    #[error("{} holds no usable {what}: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Flags that name the files, for every program that connects to a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct TlsFlags {
    /// TLS on every link: PEM file with the certificate of the authority
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// TLS on every link: PEM file with the own certificate
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// TLS on every link: PEM file with the own private key
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

impl TlsFlags {
    /// What the flags say, each one before what `file` says; an error if one or two of three are missing.
    pub fn over(self, file: Security) -> Result<Security, SecurityError> {
        let file: Option<TlsFiles> = file.into();
        let (ca, cert, key) = file.map_or((None, None, None), |f| (Some(f.ca), Some(f.cert), Some(f.key)));
        let parts = (self.tls_ca.or(ca), self.tls_cert.or(cert), self.tls_key.or(key));
        match parts {
            (None, None, None) => Ok(Security::Plain),
            (Some(ca), Some(cert), Some(key)) => Ok(Security::Tls(TlsFiles { ca, cert, key })),
            (None, ..) => Err(SecurityError::Incomplete("--tls-ca")),
            (_, None, _) => Err(SecurityError::Incomplete("--tls-cert")),
            (_, _, None) => Err(SecurityError::Incomplete("--tls-key")),
        }
    }
}

impl Security {
    /// Whether nothing is protected.
    pub fn is_plain(&self) -> bool {
        *self == Security::Plain
    }

    /// Reads the files, once, for every connection to come.
    pub fn load(&self) -> Result<Transport, SecurityError> {
        match self {
            Security::Plain => Ok(Transport::plain()),
            Security::Tls(files) => Ok(Transport { tls: Some(Arc::new(Tls::load(files)?)) }),
        }
    }
}

/// A way to open connections, plain or TLS. Clones are cheap and share what was read.
#[derive(Clone, Default)]
pub struct Transport {
    tls: Option<Arc<Tls>>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.tls.is_some() { "Transport(tls)" } else { "Transport(plain)" })
    }
}

struct Tls {
    connector: TlsConnector,
    zookeeper: TlsOptions,
}

/// A connection to a server, whatever protects it.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

impl Transport {
    /// Plain TCP.
    pub fn plain() -> Self {
        Transport::default()
    }

    /// Connects within `limit`, handshake included, to a server that proves to be at `addr` by a certificate
    /// for that address. No byte of the caller is sent. The socket belongs to the calling thread's namespace.
    ///
    /// With TLS 1.3 a server's refusal of *our* certificate arrives with the first answer, not here.
    pub async fn connect(&self, addr: SocketAddr, limit: Duration) -> io::Result<Box<dyn Duplex>> {
        let open = async {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => Ok(Box::new(stream) as Box<dyn Duplex>),
                Some(tls) => {
                    let name = ServerName::IpAddress(addr.ip().into());
                    Ok(Box::new(tls.connector.connect(name, stream).await?) as Box<dyn Duplex>)
                }
            }
        };
        timeout(limit, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Opens a ZooKeeper session with `connector` at `connect` (`host:port,host:port,…`).
    pub(crate) async fn zookeeper(
        &self,
        connector: Connector,
        connect: &str,
    ) -> Result<Client, zookeeper_client::Error> {
        match &self.tls {
            None => connector.connect(connect).await,
            Some(tls) => connector.with_tls(tls.zookeeper.clone()).secure_connect(connect).await,
        }
    }
}

impl Tls {
    fn load(files: &TlsFiles) -> Result<Self, SecurityError> {
        let (ca, cert, key) = (text(&files.ca)?, text(&files.cert)?, text(&files.key)?);
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.ca, &ca)? {
            roots.add(root).map_err(|e| bad(&files.ca, "certificate", &e))?;
        }
        let chain = certificates(&files.cert, &cert)?;
        let private =
            PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| bad(&files.key, "private key", &e))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| bad(&files.ca, "certificate", &e))?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, private)
            .map_err(|e| bad(&files.key, "key for this certificate", &e))?;
        let zookeeper = TlsOptions::new()
            .with_pem_ca(&ca)
            .map_err(|e| bad(&files.ca, "certificate", &e))?
            .with_pem_identity(&cert, &key)
            .map_err(|e| bad(&files.cert, "certificate with its key", &e))?;
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)), zookeeper })
    }
}

fn text(path: &Path) -> Result<String, SecurityError> {
    fs::read_to_string(path).map_err(|source| SecurityError::Read { path: path.to_owned(), source })
}

fn certificates(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, SecurityError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match found {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(bad(path, "certificate", &"no such section in it")),
        Err(e) => Err(bad(path, "certificate", &e)),
    }
}

fn bad(path: &Path, what: &'static str, why: &dyn std::fmt::Display) -> SecurityError {
    SecurityError::Pem { path: path.to_owned(), what, why: why.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provision::certificates::Authority;

    fn flags(ca: Option<&str>, cert: Option<&str>, key: Option<&str>) -> TlsFlags {
        let path = |text: Option<&str>| text.map(PathBuf::from);
        TlsFlags { tls_ca: path(ca), tls_cert: path(cert), tls_key: path(key) }
    }

    fn files(ca: &str, cert: &str, key: &str) -> TlsFiles {
        TlsFiles { ca: ca.into(), cert: cert.into(), key: key.into() }
    }

    #[test]
    fn flags_override_the_file_one_by_one() {
        let file = Security::Tls(files("a", "b", "c"));
        assert_eq!(TlsFlags::default().over(Security::Plain).unwrap(), Security::Plain);
        assert_eq!(TlsFlags::default().over(file.clone()).unwrap(), file);
        assert_eq!(flags(None, None, Some("k")).over(file).unwrap(), Security::Tls(files("a", "b", "k")));
        let e = flags(Some("a"), None, Some("c")).over(Security::Plain).unwrap_err().to_string();
        assert!(e.starts_with("tls needs three files: --tls-cert is missing"), "{e}");
    }

    #[test]
    fn toml_says_tls_by_a_table_of_its_own() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct Holder {
            #[serde(rename = "tls", default, skip_serializing_if = "Security::is_plain")]
            security: Security,
            name: String,
        }
        let plain = Holder { security: Security::Plain, name: "x".into() };
        assert_eq!(toml::to_string(&plain).unwrap(), "name = \"x\"\n");
        let tls = Holder { security: Security::Tls(files("a", "b", "c")), name: "x".into() };
        let text = toml::to_string(&tls).unwrap();
        assert!(text.contains("[tls]\nca = \"a\"\ncert = \"b\"\nkey = \"c\"\n"), "{text}");
        assert_eq!(toml::from_str::<Holder>(&text).unwrap(), tls);
        assert_eq!(toml::from_str::<Holder>("name = \"x\"\n").unwrap(), plain);
        let error = toml::from_str::<Holder>("name = \"x\"\n[tls]\nca = \"a\"\n").unwrap_err();
        assert!(error.to_string().contains("missing field `cert`"), "{error}");
    }

    #[test]
    fn files_that_are_no_certificates_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let good = Authority::new("test").unwrap().issue(dir.path(), "a", &[]).unwrap();
        let other = Authority::new("test").unwrap().issue(&dir.path().join("b"), "b", &[]).unwrap();
        Security::Tls(good.clone()).load().unwrap();
        let junk = dir.path().join("junk");
        fs::write(&junk, "hello").unwrap();
        let table = [
            (TlsFiles { ca: "/none".into(), ..good.clone() }, "cannot read /none: "),
            (
                TlsFiles { ca: junk.clone(), ..good.clone() },
                "junk holds no usable certificate: no such section",
            ),
            (TlsFiles { key: junk, ..good.clone() }, "junk holds no usable private key: "),
            (TlsFiles { key: other.key, ..good }, "holds no usable key for this certificate: "),
        ];
        for (files, expected) in table {
            let e = Security::Tls(files).load().unwrap_err().to_string();
            assert!(e.contains(expected), "{e}");
        }
    }
}
