//! The fabric beside a kernel veth pair: the same server, the same client, the same two nodes, by turns
//! over one and over the other; and, if asked, over the fabric with a tap on it, and over one that records all packets.
//!
//! What is served is the caller's business; a contest is two command lines and a way to read rates out
//! of what the client printed. The turns alternate within one run, so that whatever else the machine
//! does weighs on both alike.

mod rules;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use self::rules::{BesideFigure, BesideFigures, rules_elsewhere};
use crate::error::{LabError, Result};
use crate::flow::TapGuard;
use crate::{Exit, Fabric, Lab, LabOptions, Node, Process, Program};

const VETH_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 1);
const VETH_SERVER: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 2);

const SERVER_START_MAX: Duration = Duration::from_secs(10);
const CLIENT_TIME_MAX: Duration = Duration::from_secs(120);

/// Puts a tap on the bench's fabric, for one turn.
pub type PutTap = dyn Fn(&Fabric) -> Result<TapGuard>;

/// A server and a client to race over both networks.
pub struct Contest<'a> {
    /// The server's command line; it must listen on every address of its node.
    pub server: Vec<OsString>,
    /// The port it listens on, waited for before the first turn.
    pub port: u16,
    /// The client's command line for a server address and a number of connections; it must end by itself.
    pub client: &'a dyn Fn(Ipv4Addr, u32) -> Vec<OsString>,
    /// Reads named rates (operations per second) from the client's output.
    pub read_rates: &'a dyn Fn(&str) -> Vec<(String, f64)>,
    /// The numbers of connections to try, one after the other.
    pub connections: Vec<u32>,
    /// Turns over each network per number of connections.
    pub turns: u32,
    /// Puts a tap on the fabric for a third kind of turn; `None` leaves that out.
    pub tap: Option<&'a PutTap>,
    /// Takes a fourth kind of turn, over a fabric that records every packet below `dir`.
    pub recorded: bool,
    /// A directory for the logs of server and clients.
    pub dir: &'a Path,
}

/// Medians over the turns of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Medians {
    /// Over the fabric.
    pub fabric: f64,
    /// Over the kernel's veth pair.
    pub veth: f64,
    /// Over the fabric with a tap, if there was one.
    pub tapped: Option<f64>,
    /// Over a fabric that records, if there was one.
    #[serde(default)]
    pub recorded: Option<f64>,
}

impl Medians {
    fn of(mut turns: Turns<f64>) -> Medians {
        let [tapped, recorded] =
            [&mut turns.tapped, &mut turns.recorded].map(|turns| (!turns.is_empty()).then(|| median(turns)));
        Medians { fabric: median(&mut turns.fabric), veth: median(&mut turns.veth), tapped, recorded }
    }

    /// Fabric over veth.
    pub fn ratio(&self) -> f64 {
        self.fabric / self.veth
    }

    /// The recording fabric over the bare one.
    pub fn recorded_ratio(&self) -> Option<f64> {
        self.recorded.map(|recorded| recorded / self.fabric)
    }

    /// The tapped fabric over the bare one.
    pub fn tapped_ratio(&self) -> Option<f64> {
        self.tapped.map(|tapped| tapped / self.fabric)
    }
}

/// The rate of one kind of operation at one number of connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateFigure {
    /// Connections the client held.
    pub connections: u32,
    /// The client's name for the operation.
    pub operation: String,
    /// Operations per second.
    pub rate_per_s: Medians,
}

/// What a contest came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FabricFigures {
    /// Rates of the caller's client and server.
    pub rates: Vec<RateFigure>,
    /// Median round trip of 64 bytes over an idle TCP connection, in microseconds.
    pub round_trip_us_p50: Medians,
    /// Its 99th percentile.
    pub round_trip_us_p99: Medians,
    /// One bulk TCP stream, in megabytes per second.
    pub bulk_mb_per_s: Medians,
}

impl FabricFigures {
    /// The lowest ratio of rates at this number of connections.
    pub fn worst_ratio(&self, connections: u32) -> Option<f64> {
        let of_this = self.rates.iter().filter(|figure| figure.connections == connections);
        of_this.map(|figure| figure.rate_per_s.ratio()).min_by(f64::total_cmp)
    }

    /// How much longer the median round trip is over the fabric, in microseconds.
    pub fn added_latency_us_p50(&self) -> f64 {
        self.round_trip_us_p50.fabric - self.round_trip_us_p50.veth
    }

    /// The lowest ratio of the recording fabric's rates to the bare one's.
    pub fn worst_recorded_ratio(&self) -> Option<f64> {
        self.rates.iter().filter_map(|figure| figure.rate_per_s.recorded_ratio()).min_by(f64::total_cmp)
    }

    /// The lowest ratio of the tapped fabric's rates to the bare one's.
    pub fn worst_tapped_ratio(&self) -> Option<f64> {
        self.rates.iter().filter_map(|figure| figure.rate_per_s.tapped_ratio()).min_by(f64::total_cmp)
    }
}

impl fmt::Display for FabricFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<34} {:>12} {:>12} {:>7}", "", "fabric", "veth", "ratio")?;
        let bulk = &self.bulk_mb_per_s;
        for (name, _) in
            [("tapped", bulk.tapped), ("recorded", bulk.recorded)].iter().filter(|(_, by)| by.is_some())
        {
            write!(f, " {name:>12} {:>9}", "of fabric")?;
        }
        writeln!(f)?;
        let mut line = |name: String, medians: &Medians, decimals: usize| {
            let (fabric, veth, ratio) = (medians.fabric, medians.veth, medians.ratio());
            write!(f, "{name:<34} {fabric:>12.decimals$} {veth:>12.decimals$} {ratio:>7.2}")?;
            let others =
                [medians.tapped.zip(medians.tapped_ratio()), medians.recorded.zip(medians.recorded_ratio())];
            for (other, ratio) in others.into_iter().flatten() {
                write!(f, " {other:>12.decimals$} {ratio:>9.2}")?;
            }
            writeln!(f)
        };
        for figure in &self.rates {
            let name = format!("{} /s, {} connections", figure.operation, figure.connections);
            line(name, &figure.rate_per_s, 0)?;
        }
        line("round trip of 64 B, p50, us".to_owned(), &self.round_trip_us_p50, 1)?;
        line("round trip of 64 B, p99, us".to_owned(), &self.round_trip_us_p99, 1)?;
        line("bulk TCP, MB/s".to_owned(), &self.bulk_mb_per_s, 0)
    }
}

/// Races the contest's client and server, a ping-pong and a bulk stream over both networks.
pub fn fabric(contest: &Contest<'_>) -> Result<FabricFigures> {
    let mut lab = Lab::up(LabOptions::named("bench"))?;
    let ground = Ground::of(&mut lab)?;
    ground.client.add_veth(&ground.server, VETH_CLIENT, VETH_SERVER)?;
    let capture = Some(contest.dir.join("bench.pcapng"));
    let recording = || Lab::up(LabOptions { capture, ..LabOptions::named("bench-recorded") });
    let mut recording = contest.recorded.then(recording).transpose()?;
    let recorded = recording.as_mut().map(Ground::of).transpose()?;
    let track = Track { fabric: lab.fabric(), ground, recorded, contest };
    let rates = race(&track)?;
    let (round_trip_us_p50, round_trip_us_p99) = ping_pong(&track)?;
    let bulk_mb_per_s = bulk(&track)?;
    Ok(FabricFigures { rates, round_trip_us_p50, round_trip_us_p99, bulk_mb_per_s })
}

/// Two nodes of a lab.
struct Ground {
    client: Node,
    server: Node,
}

impl Ground {
    fn of(lab: &mut Lab) -> Result<Ground> {
        Ok(Ground { client: lab.add_node("client")?, server: lab.add_node("server")? })
    }
}

/// Where the turns are taken.
struct Track<'a> {
    fabric: &'a Fabric,
    ground: Ground,
    recorded: Option<Ground>,
    contest: &'a Contest<'a>,
}

/// What the turns of each kind gave.
struct Turns<T> {
    fabric: Vec<T>,
    veth: Vec<T>,
    tapped: Vec<T>,
    recorded: Vec<T>,
}

impl<T> Turns<T> {
    fn map<U>(self, f: impl FnMut(T) -> U + Copy) -> Turns<U> {
        let each = |turns: Vec<T>| turns.into_iter().map(f).collect();
        Turns {
            fabric: each(self.fabric),
            veth: each(self.veth),
            tapped: each(self.tapped),
            recorded: each(self.recorded),
        }
    }
}

impl Track<'_> {
    /// Calls `turn` for each network by turns; returns what each gave.
    fn by_turns<T>(&self, mut turn: impl FnMut(&Ground, Ipv4Addr) -> Result<T>) -> Result<Turns<T>> {
        let ground = &self.ground;
        let mut turns =
            Turns { fabric: Vec::new(), veth: Vec::new(), tapped: Vec::new(), recorded: Vec::new() };
        for _ in 0..self.contest.turns {
            turns.fabric.push(turn(ground, ground.server.addr())?);
            if let Some(tap) = self.contest.tap {
                let guard = tap(self.fabric)?;
                turns.tapped.push(turn(ground, ground.server.addr())?);
                drop(guard);
            }
            if let Some(ground) = &self.recorded {
                turns.recorded.push(turn(ground, ground.server.addr())?);
            }
            turns.veth.push(turn(ground, VETH_SERVER)?);
        }
        Ok(turns)
    }
}

fn race(track: &Track<'_>) -> Result<Vec<RateFigure>> {
    let contest = track.contest;
    let grounds = [Some(&track.ground), track.recorded.as_ref()];
    let running: Vec<_> =
        grounds.into_iter().flatten().map(|ground| serve(contest, ground)).collect::<Result<_>>()?;
    let mut figures = Vec::new();
    for &connections in &contest.connections {
        let mut serial = 0;
        let turns = track.by_turns(|ground, addr| {
            serial += 1;
            let name = format!("client-{connections}-{serial}");
            let run = ground.client.spawn(&program(contest, &name, (contest.client)(addr, connections)))?;
            finished_output(&run).map(|output| (contest.read_rates)(&output))
        })?;
        figures.extend(rate_figures(connections, turns));
    }
    running.iter().try_for_each(Process::kill)?;
    Ok(figures)
}

/// Starts the contest's server on its node, and waits until the client reaches it.
fn serve(contest: &Contest<'_>, Ground { client, server }: &Ground) -> Result<Process> {
    let running = server.spawn(&program(contest, "server", contest.server.clone()))?;
    wait_for_port(&running, client, SocketAddr::from((server.addr(), contest.port)))?;
    Ok(running)
}

fn program(contest: &Contest<'_>, name: &str, argv: Vec<OsString>) -> Program {
    Program {
        name: name.to_owned(),
        argv,
        env: Vec::new(),
        cwd: contest.dir.to_owned(),
        log: contest.dir.join(format!("{name}.log")),
    }
}

type Rates = Vec<(String, f64)>;

fn rate_figures(connections: u32, turns: Turns<Rates>) -> Vec<RateFigure> {
    let by_operation = |turns: Vec<Rates>| {
        let mut sorted: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (operation, rate) in turns.into_iter().flatten() {
            sorted.entry(operation).or_default().push(rate);
        }
        sorted
    };
    let [mut veth, mut tapped, mut recorded] = [turns.veth, turns.tapped, turns.recorded].map(by_operation);
    let figures = by_operation(turns.fabric).into_iter().filter_map(|(operation, fabric)| {
        let veth = veth.remove(&operation)?;
        let [tapped, recorded] =
            [&mut tapped, &mut recorded].map(|turns| turns.remove(&operation).unwrap_or_default());
        let rate_per_s = Medians::of(Turns { fabric, veth, tapped, recorded });
        Some(RateFigure { connections, operation, rate_per_s })
    });
    figures.collect()
}

fn wait_for_port(process: &Process, client: &Node, addr: SocketAddr) -> Result<()> {
    let deadline = Instant::now() + SERVER_START_MAX;
    loop {
        let attempt =
            client.enter("bench-probe", move || TcpStream::connect_timeout(&addr, SERVER_START_MAX))?;
        if let Ok(Ok(_)) = attempt.join() {
            return Ok(());
        }
        if Instant::now() > deadline || process.wait_exit(Duration::from_millis(20)).is_some() {
            let (state, tail) = (process.state(), process.log_tail(5));
            return Err(LabError::Bench(format!("the server does not listen on {addr} ({state}): {tail}")));
        }
    }
}

fn finished_output(process: &Process) -> Result<String> {
    let output = |lines| process.log_tail(lines);
    match process.wait_exit(CLIENT_TIME_MAX) {
        Some(Exit::Code(0)) => Ok(output(usize::MAX)),
        Some(_) => Err(LabError::Bench(format!("the client {}: {}", process.state(), output(5)))),
        None => {
            process.kill()?;
            Err(LabError::Bench(format!("the client took longer than {CLIENT_TIME_MAX:?}: {}", output(5))))
        }
    }
}

/// A socket pair between the nodes: the server's end, the client's end.
fn connect(Ground { client, server }: &Ground, addr: Ipv4Addr) -> Result<(TcpStream, TcpStream)> {
    let failed = |e: std::io::Error| LabError::Bench(format!("a connection to {addr}: {e}"));
    let crashed = |_| LabError::Bench("a thread of the bench panicked".to_owned());
    let listen = server.enter("bench-listen", move || TcpListener::bind((addr, 0)))?;
    let listener = listen.join().map_err(crashed)?.map_err(failed)?;
    let to = listener.local_addr().map_err(failed)?;
    let dial = client.enter("bench-dial", move || TcpStream::connect_timeout(&to, SERVER_START_MAX))?;
    let near = dial.join().map_err(crashed)?.map_err(failed)?;
    let (far, _) = listener.accept().map_err(failed)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(SERVER_START_MAX)).map_err(failed)?;
    }
    Ok((far, near))
}

/// Median and 99th percentile of the round trip of 64 bytes.
fn ping_pong(track: &Track<'_>) -> Result<(Medians, Medians)> {
    const ROUND_TRIPS: usize = 5_000;
    let times_us = track.by_turns(|ground, addr| {
        let (mut far, mut near) = connect(ground, addr)?;
        let echo = std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while far.read_exact(&mut buffer).and_then(|()| far.write_all(&buffer)).is_ok() {}
        });
        let mut times_us = Vec::with_capacity(ROUND_TRIPS);
        let mut buffer = [7; 64];
        for _ in 0..ROUND_TRIPS {
            let start = Instant::now();
            near.write_all(&buffer)
                .and_then(|()| near.read_exact(&mut buffer))
                .map_err(|e| LabError::Bench(format!("ping-pong over {addr}: {e}")))?;
            times_us.push(start.elapsed().as_nanos() as f64 / 1e3);
        }
        drop(near);
        let _ = echo.join();
        Ok(times_us)
    })?;
    let both = times_us.map(|mut times| (percentile(&mut times, 0.5), percentile(&mut times, 0.99)));
    let Turns { fabric, veth, tapped, recorded } = both;
    let [(f50, f99), (v50, v99), (t50, t99), (r50, r99)] =
        [fabric, veth, tapped, recorded].map(|turns| turns.into_iter().unzip());
    Ok((
        Medians::of(Turns { fabric: f50, veth: v50, tapped: t50, recorded: r50 }),
        Medians::of(Turns { fabric: f99, veth: v99, tapped: t99, recorded: r99 }),
    ))
}

/// Megabytes per second of one stream.
fn bulk(track: &Track<'_>) -> Result<Medians> {
    const TIME: Duration = Duration::from_millis(500);
    let turns = track.by_turns(|ground, addr| {
        let (mut far, mut near) = connect(ground, addr)?;
        let sink = std::thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut bytes = 0;
            while let Ok(len @ 1..) = far.read(&mut buffer) {
                bytes += len;
            }
            bytes
        });
        let chunk = vec![7; 128 * 1024];
        let start = Instant::now();
        while start.elapsed() < TIME {
            near.write_all(&chunk).map_err(|e| LabError::Bench(format!("bulk over {addr}: {e}")))?;
        }
        drop(near);
        let bytes = sink.join().unwrap_or(0);
        Ok(bytes as f64 / 1e6 / start.elapsed().as_secs_f64())
    })?;
    Ok(Medians::of(turns))
}

fn median(values: &mut [f64]) -> f64 {
    percentile(values, 0.5)
}

/// The value below which `share` of them lie; NaN for none.
fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let index = (values.len() as f64 * share) as usize;
    values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_of_few_and_of_none() {
        assert_eq!(percentile(&mut [3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(percentile(&mut [3.0, 1.0, 2.0], 0.99), 3.0);
        assert!(percentile(&mut [], 0.5).is_nan());
    }

    #[test]
    fn figures_pair_operations_by_name_and_tell_the_worst_ratio() {
        let turn = |set: f64, get: f64| vec![("SET".to_owned(), set), ("GET".to_owned(), get)];
        let (fabric, veth) = (vec![turn(80.0, 95.0)], vec![turn(100.0, 100.0)]);
        let rates = rate_figures(
            50,
            Turns { fabric, veth, tapped: vec![turn(40.0, 19.0)], recorded: vec![turn(60.0, 19.0)] },
        );
        assert_eq!(
            rates.iter().map(|figure| figure.rate_per_s.tapped_ratio()).collect::<Vec<_>>(),
            [Some(0.2), Some(0.5)]
        );
        assert_eq!(rates[1].rate_per_s.recorded_ratio(), Some(0.75), "GET, SET");
        let medians = Medians { fabric: 30.0, veth: 20.0, tapped: None, recorded: None };
        let figures = FabricFigures {
            rates,
            round_trip_us_p50: medians,
            round_trip_us_p99: medians,
            bulk_mb_per_s: medians,
        };
        assert_eq!(figures.worst_ratio(50), Some(0.8));
        assert_eq!(figures.worst_ratio(1), None);
        assert_eq!(figures.added_latency_us_p50(), 10.0);
        assert!(figures.to_string().contains("SET /s, 50 connections"));
    }
}
