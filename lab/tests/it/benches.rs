//! The bench works; its speeds are for people to judge.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Instant;

use lab::LabError;
use lab::bench::{self, Contest};
use lab::flow::{Interceptor, Tap, Way, Wire};

use crate::helper;
use crate::net::*;

const PORT: u16 = 7000;

/// Role: an echo server on every address.
pub fn be_the_server() {
    for stream in TcpListener::bind(("0.0.0.0", PORT)).unwrap().incoming() {
        let mut stream = stream.unwrap();
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                let _ = stream.write_all(&buffer[..len]);
            }
        });
    }
}

/// Role: a client that prints its rate. `target` is the server's address, as a path.
pub fn be_the_client(target: &Path) {
    const ROUND_TRIPS: u32 = 200;
    let to: SocketAddr = target.to_str().unwrap().parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).unwrap();
    let start = Instant::now();
    for _ in 0..ROUND_TRIPS {
        round_trip(&mut stream).unwrap();
    }
    helper::say(&format!("PING,{}", f64::from(ROUND_TRIPS) / start.elapsed().as_secs_f64()));
}

fn contest<T>(
    dir: &Path,
    server: Vec<OsString>,
    race: impl Fn(&Contest<'_>) -> Result<T, LabError>,
) -> Result<T, LabError> {
    race(&Contest {
        server,
        port: PORT,
        client: &|addr, _| helper::command_line("bench-client", &format!("{addr}:{PORT}")),
        read_rates: &|output| {
            let rates = output.lines().filter_map(|line| line.split_once(','));
            rates.map(|(name, rate)| (name.to_owned(), rate.parse().unwrap())).collect()
        },
        connections: vec![1, 2],
        turns: 1,
        tap: Some(&|fabric| {
            let tap = Tap { name: "pass".into(), server_ports: vec![], nodes: None };
            fabric.tap(tap, |_| Some(Box::new(PassAll)))
        }),
        recorded: true,
        dir,
    })
}

/// Passes everything as it comes.
struct PassAll;

impl Interceptor for PassAll {
    fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
        wire.pass(way, usize::MAX);
    }
}

pub fn the_bench_races_over_both_networks() {
    let dir = tempfile::tempdir().unwrap();
    let figures = contest(dir.path(), helper::command_line("bench-server", ""), bench::fabric).unwrap();
    let names: Vec<_> = figures.rates.iter().map(|f| (f.connections, f.operation.as_str())).collect();
    assert_eq!(names, [(1, "PING"), (2, "PING")]);
    let pairs = figures.rates.iter().map(|f| f.rate_per_s);
    for pair in pairs.chain([figures.round_trip_us_p50, figures.round_trip_us_p99, figures.bulk_mb_per_s]) {
        assert!(pair.fabric > 0.0 && pair.veth > 0.0 && pair.tapped.is_some_and(|t| t > 0.0), "{figures}");
        assert!(pair.recorded.is_some_and(|r| r > 0.0), "{figures}");
    }
    assert!(figures.round_trip_us_p99.fabric >= figures.round_trip_us_p50.fabric);
}

pub fn the_bench_races_beside_rules_on_other_links() {
    let dir = tempfile::tempdir().unwrap();
    let server = helper::command_line("bench-server", "");
    let figures = contest(dir.path(), server, bench::rules_elsewhere).unwrap();
    let names: Vec<_> = figures.rates.iter().map(|f| (f.connections, f.operation.as_str())).collect();
    assert_eq!(names, [(1, "PING"), (2, "PING")]);
    assert!(figures.rates.iter().all(|f| f.bare_per_s > 0.0 && f.ruled_per_s > 0.0), "{figures}");
    assert!(figures.judged > 0, "nobody talked on the links with rules");
}

pub fn a_bench_whose_server_dies_shows_its_last_words() {
    let dir = tempfile::tempdir().unwrap();
    let server = ["/bin/sh", "-c", "echo no memory left; exit 1"].map(OsString::from);
    let error = contest(dir.path(), server.into(), bench::fabric).unwrap_err().to_string();
    assert!(error.contains("exited with code 1") && error.contains("no memory left"), "{error}");
}
