//! A ZooKeeper server, started without its packaging's wrapper and tuned for fast failover.

use std::{
    ffi::OsString,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use super::{Launch, ProvisionError, certificates::write_secret, find_program, make_dir, output_of, write};
use crate::security::{Security, TlsFiles};

/// ZooKeeper and the Java that runs it, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// `3.8.0`, or `unknown` where the file names do not tell.
    pub version: String,
    /// `17.0.15`.
    pub java_version: String,
    /// The `java` program.
    pub java: PathBuf,
    /// Jars, in order.
    pub classpath: Vec<PathBuf>,
}

/// Finds Java and ZooKeeper as Debian and Ubuntu package them, or below `ZOOKEEPER_HOME`.
pub fn find() -> Result<Installation, ProvisionError> {
    let java_home =
        std::env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin").into_os_string());
    let java = java_home
        .and_then(|bin| find_program("java", Some(bin)))
        .or_else(|| find_program("java", std::env::var_os("PATH")))
        .ok_or_else(|| ProvisionError::Missing {
            what: "java (looked in JAVA_HOME, PATH and the usual directories)".into(),
            package: "default-jre-headless",
        })?;
    let classpath = find_jars(&Roots::default())?;
    let version = classpath.iter().find_map(|jar| jar_version(jar)).unwrap_or_else(|| "unknown".into());
    let java_version = parse_java_version(&output_of(&java, &["-version"])?);
    Ok(Installation { version, java_version, java, classpath })
}

/// Where to look.
struct Roots {
    home: Option<PathBuf>,
    environment: PathBuf,
    jars: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            home: std::env::var_os("ZOOKEEPER_HOME").map(PathBuf::from),
            environment: "/etc/zookeeper/conf/environment".into(),
            jars: "/usr/share/java".into(),
        }
    }
}

/// The jars of ZooKeeper: of a tarball if there is one, else those that the package's own environment file
/// names (Ubuntu lists each, Debian only the first, whose manifest names the rest), with a logger that
/// writes to standard error.
fn find_jars(roots: &Roots) -> Result<Vec<PathBuf>, ProvisionError> {
    if let Some(home) = &roots.home {
        let lib: Vec<PathBuf> = jars_in(&home.join("lib"));
        if lib.iter().any(|jar| is_zookeeper(jar)) {
            return Ok(lib);
        }
    }
    let mut jars = fs::read_to_string(&roots.environment).map(|text| jars_named(&text)).unwrap_or_default();
    if !jars.iter().any(|jar| is_zookeeper(jar)) {
        jars.push(roots.jars.join("zookeeper.jar"));
    }
    jars.retain(|jar| jar.is_file());
    if !jars.iter().any(|jar| is_zookeeper(jar)) {
        return Err(ProvisionError::Missing {
            what: format!(
                "zookeeper.jar (looked in ZOOKEEPER_HOME/lib, {} and {})",
                roots.environment.display(),
                roots.jars.display()
            ),
            package: "zookeeper",
        });
    }
    // One binding only, and the quickest to load.
    jars.retain(|jar| !file_name(jar).starts_with("slf4j-log4j12"));
    let logger = roots.jars.join("slf4j-simple.jar");
    if logger.is_file() {
        jars.push(logger);
    }
    // For TLS. Debian's zookeeper.jar names the rest of Netty in its manifest, but not these two.
    let netty = ["netty-codec.jar", "netty-resolver.jar"].map(|name| roots.jars.join(name));
    jars.extend(netty.into_iter().filter(|jar| jar.is_file()));
    Ok(jars)
}

fn jars_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut jars: Vec<PathBuf> =
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "jar")).collect();
    jars.sort();
    jars
}

/// The jars in the line `CLASSPATH="…"` of the package's environment file.
fn jars_named(environment: &str) -> Vec<PathBuf> {
    let line = environment.lines().find_map(|line| line.trim().strip_prefix("CLASSPATH="));
    let listed = line.unwrap_or_default().trim_matches(['"', '\'']);
    listed.split(':').filter(|entry| entry.ends_with(".jar")).map(PathBuf::from).collect()
}

fn file_name(jar: &Path) -> String {
    jar.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_zookeeper(jar: &Path) -> bool {
    jar_version(jar).is_some() || file_name(jar) == "zookeeper.jar" && jar.is_file()
}

/// `3.8.0` of `zookeeper-3.8.0.jar`; of `zookeeper.jar`, the version of the like file beside it.
fn jar_version(jar: &Path) -> Option<String> {
    let versioned = |name: &str| {
        let version = name.strip_prefix("zookeeper-")?.strip_suffix(".jar")?;
        version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
    };
    let name = file_name(jar);
    if name != "zookeeper.jar" {
        return versioned(&name);
    }
    let target = fs::canonicalize(jar).ok()?;
    versioned(&file_name(&target)).or_else(|| {
        jars_in(jar.parent()?).iter().find_map(|beside| {
            let same = fs::metadata(beside).ok()?.len() == fs::metadata(jar).ok()?.len();
            if same { versioned(&file_name(beside)) } else { None }
        })
    })
}

fn parse_java_version(text: &str) -> String {
    text.split('"').nth(1).unwrap_or("unknown").to_owned()
}

/// One server of an ensemble, as the others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// 1–255, unique in the ensemble.
    pub id: u8,
    /// Address the others reach it at.
    pub addr: IpAddr,
    /// Port that followers connect to.
    pub quorum_port: u16,
    /// Port for leader election.
    pub election_port: u16,
}

impl Peer {
    /// A peer at the customary ports 2888 and 3888.
    pub fn at(id: u8, addr: IpAddr) -> Self {
        Peer { id, addr, quorum_port: 2888, election_port: 3888 }
    }
}

/// File in a server's directory that holds its key and certificate, where it uses TLS.
pub const KEYSTORE: &str = "keystore.pem";

/// One ZooKeeper server to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Which of the peers it is.
    pub id: u8,
    /// Port for clients, on the address of its peer entry.
    pub client_port: u16,
    /// The whole ensemble, itself included.
    pub peers: Vec<Peer>,
    /// Directory of its own; data is kept over restarts.
    pub dir: PathBuf,
    /// Length of a tick, milliseconds: 100 for failover of the leader within 0.4–0.8 s.
    pub tick_ms: u32,
    /// TLS for clients and among the servers, with the plain ports closed, or neither.
    pub security: Security,
}

impl Server {
    /// A server with a tick of 100 ms and clients at port 2181.
    pub fn new(id: u8, peers: Vec<Peer>, dir: impl Into<PathBuf>) -> Self {
        Server { id, client_port: 2181, peers, dir: dir.into(), tick_ms: 100, security: Security::Plain }
    }

    /// Where its data lie: in `version-2` there, transaction logs `log.N` and snapshots `snapshot.N`, with `N` the
    /// hexadecimal number of a transaction.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Writes `zoo.cfg` and `myid` and says how to start the server. Data that is there is kept.
    pub fn prepare(&self, installation: &Installation) -> Result<Launch, ProvisionError> {
        let data = self.data();
        make_dir(&data)?;
        write(&data.join("myid"), &format!("{}\n", self.id))?;
        let cfg = self.dir.join("zoo.cfg");
        write(&cfg, &self.cfg()?)?;
        if let Security::Tls(files) = &self.security {
            write_secret(&self.keystore(), &(read(&files.key)? + &read(&files.cert)?))?;
        }
        Ok(Launch { argv: self.argv(installation, &cfg), env: Vec::new(), cwd: self.dir.clone() })
    }

    /// Key and certificate in one file, as ZooKeeper wants its PEM keystores.
    fn keystore(&self) -> PathBuf {
        self.dir.join(KEYSTORE)
    }

    fn argv(&self, installation: &Installation, cfg: &Path) -> Vec<OsString> {
        let mut classpath = OsString::new();
        for (i, jar) in installation.classpath.iter().enumerate() {
            if i > 0 {
                classpath.push(":");
            }
            classpath.push(jar);
        }
        let mut argv: Vec<OsString> = vec![installation.java.clone().into()];
        argv.extend(JVM_FLAGS.iter().map(OsString::from));
        argv.extend(["-cp".into(), classpath, "org.apache.zookeeper.server.quorum.QuorumPeerMain".into()]);
        argv.push(cfg.into());
        argv
    }

    /// The text of `zoo.cfg`; an error if this server is not among the peers.
    pub fn cfg(&self) -> Result<String, ProvisionError> {
        let me = self.peers.iter().find(|peer| peer.id == self.id).ok_or_else(|| {
            ProvisionError::Settings(format!("zookeeper server {} is not among its peers", self.id))
        })?;
        let mut text = format!(
            "tickTime={tick}\n\
             # Ticks to join and to fall behind. Sessions may be as short as two ticks.\n\
             initLimit=40\n\
             syncLimit=5\n\
             minSessionTimeout={min_session}\n\
             maxSessionTimeout=40000\n\
             dataDir={data}\n\
             {ports}\
             maxClientCnxns=0\n\
             admin.enableServer=false\n\
             4lw.commands.whitelist=srvr,mntr,ruok,stat,conf,cons\n\
             # Rejoin soon after a long cut: the default waits up to a minute between notifications.\n\
             fastleader.maxNotificationInterval=500\n\
             cnxTimeout=1000\n\
             # Log files in steps of 1 MB, not 64.\n\
             preAllocSize=1024\n",
            tick = self.tick_ms,
            min_session = self.tick_ms * 2,
            data = self.data().display(),
            ports = self.ports(me.addr),
        );
        if self.peers.len() > 1 {
            for peer in &self.peers {
                text.push_str(&format!(
                    "server.{}={}:{}:{}\n",
                    peer.id, peer.addr, peer.quorum_port, peer.election_port
                ));
            }
        }
        Ok(text)
    }

    fn ports(&self, addr: IpAddr) -> String {
        match &self.security {
            Security::Plain => format!("clientPort={}\nclientPortAddress={addr}\n", self.client_port),
            Security::Tls(files) => self.secure_ports(addr, files),
        }
    }

    /// Certificates on both sides of every connection, of clients and among the servers; names are verified
    /// against the certificates' addresses, which is the default.
    fn secure_ports(&self, addr: IpAddr, files: &TlsFiles) -> String {
        let mut text = format!(
            "secureClientPort={}\n\
             secureClientPortAddress={addr}\n\
             serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory\n\
             sslQuorum=true\n",
            self.client_port
        );
        for prefix in ["ssl", "ssl.quorum"] {
            text.push_str(&format!(
                "{prefix}.clientAuth=need\n\
                 {prefix}.keyStore.type=PEM\n\
                 {prefix}.keyStore.location={keystore}\n\
                 {prefix}.trustStore.type=PEM\n\
                 {prefix}.trustStore.location={ca}\n",
                keystore = self.keystore().display(),
                ca = files.ca.display(),
            ));
        }
        text
    }
}

fn read(path: &Path) -> Result<String, ProvisionError> {
    fs::read_to_string(path).map_err(|source| ProvisionError::Read { path: path.to_owned(), source })
}

/// A small server that starts fast: C1 only, serial collector, shared system classes. Three of them are
/// ready in about 1.6–2.2 s on two cores (default flags: 1.9–2.6 s; an archive of ZooKeeper's own classes
/// gained nothing measurable).
const JVM_FLAGS: [&str; 14] = [
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-Xshare:auto",
    "-Xms32m",
    "-Xmx256m",
    "-Xss512k",
    "-Djava.net.preferIPv4Stack=true",
    "-Dzookeeper.jmx.log4j.disable=true",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
    "-Dorg.slf4j.simpleLogger.showThreadName=false",
    // Four-letter commands by which observers ask for the role are logged one by one otherwise.
    "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.NIOServerCnxn=warn",
    "-Dorg.slf4j.simpleLogger.log.org.apache.zookeeper.server.NettyServerCnxn=warn",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Server {
        let peers = (1..=3).map(|id| Peer::at(id, [10, 0, 0, id].into())).collect();
        Server::new(2, peers, "/x/zk2")
    }

    #[test]
    fn a_server_of_three_lists_its_peers() {
        let cfg = server().cfg().unwrap();
        assert!(cfg.contains("\nclientPortAddress=10.0.0.2\n"), "{cfg}");
        assert!(cfg.contains("\nserver.3=10.0.0.3:2888:3888\n"));
        assert!(cfg.starts_with("tickTime=100\n") && cfg.contains("\nmaxSessionTimeout=40000\n"));
    }

    #[test]
    fn under_tls_the_plain_ports_are_closed() {
        let files = TlsFiles { ca: "/t/ca.pem".into(), cert: "/t/cert.pem".into(), key: "/t/key.pem".into() };
        let cfg = Server { security: Security::Tls(files), ..server() }.cfg().unwrap();
        for line in [
            "secureClientPort=2181",
            "sslQuorum=true",
            "ssl.keyStore.location=/x/zk2/keystore.pem",
            "ssl.quorum.clientAuth=need",
        ] {
            assert!(cfg.lines().any(|l| l == line), "{line}: {cfg}");
        }
        assert!(!cfg.lines().any(|l| l.starts_with("clientPort")), "{cfg}");
    }

    #[test]
    fn a_server_that_is_no_peer_is_refused() {
        let stranger = Server { id: 9, ..server() };
        assert_eq!(stranger.cfg().unwrap_err().to_string(), "zookeeper server 9 is not among its peers");
    }

    #[test]
    fn a_lone_server_runs_standalone() {
        let lone = Server::new(1, vec![Peer::at(1, [127, 0, 0, 1].into())], "/x");
        assert!(!lone.cfg().unwrap().contains("server.1"));
    }

    #[test]
    fn jars_come_from_the_environment_file_without_log4j() {
        let dir = tempfile::tempdir().unwrap();
        let jar = |name: &str| {
            let path = dir.path().join(name);
            fs::write(&path, name).unwrap();
            path
        };
        let (zk, log4j, simple) =
            (jar("zookeeper-3.9.1.jar"), jar("slf4j-log4j12.jar"), jar("slf4j-simple.jar"));
        let environment = dir.path().join("environment");
        let text = format!("X=1\nCLASSPATH=\"$ZOOCFGDIR:{}:{}:/gone.jar\"\n", zk.display(), log4j.display());
        fs::write(&environment, text).unwrap();
        let roots = Roots { home: None, environment, jars: dir.path().into() };
        let found = find_jars(&roots).unwrap();
        assert_eq!(found, [zk.clone(), simple]);
        assert_eq!(jar_version(&zk).as_deref(), Some("3.9.1"));
    }

    #[test]
    fn without_jars_the_package_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let roots = Roots { home: None, environment: dir.path().join("none"), jars: dir.path().into() };
        let text = find_jars(&roots).unwrap_err().to_string();
        assert!(text.ends_with("install the package zookeeper (apt install zookeeper)"), "{text}");
    }

    #[test]
    fn a_plain_jar_takes_the_version_of_its_twin() {
        let dir = tempfile::tempdir().unwrap();
        let (plain, twin) = (dir.path().join("zookeeper.jar"), dir.path().join("zookeeper-3.8.0.jar"));
        fs::write(&plain, "same").unwrap();
        fs::write(&twin, "same").unwrap();
        assert_eq!(jar_version(&plain).as_deref(), Some("3.8.0"));
    }

    #[test]
    fn java_says_its_version() {
        assert_eq!(parse_java_version("openjdk version \"17.0.15\" 2025-04-15\n…"), "17.0.15");
        assert_eq!(parse_java_version("?"), "unknown");
    }
}
