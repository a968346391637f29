//! Small talk between nodes.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lab::{Action, Lab, LabOptions, Link, Node, Rule};

/// Long enough for a loaded machine, short enough for a failing test.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits before it believes that nothing comes.
pub const SILENCE: Duration = Duration::from_millis(300);

pub fn lab_of(name: &str, count: usize) -> (Lab, Vec<Node>) {
    let mut lab = Lab::up(LabOptions::named(name)).expect("a lab");
    let names: Vec<String> = (0..count).map(|i| format!("n{i}")).collect();
    let nodes = lab.add_nodes(&names).expect("nodes");
    (lab, nodes)
}

pub fn rule(name: &str, links: Vec<Link>, action: Action) -> Rule {
    Rule::new(name, links, action, 42)
}

pub fn both_ways(a: &Node, b: &Node) -> Vec<Link> {
    vec![(a.id(), b.id()), (b.id(), a.id())]
}

/// Runs `f` inside `node` and returns its result.
pub fn inside<T: Send + 'static>(node: &Node, f: impl FnOnce() -> T + Send + 'static) -> T {
    node.enter("test", f).expect("enter").join().expect("no panic inside")
}

/// An echo server for any number of connections; it ends with the process.
pub fn serve_echo(node: &Node, port: u16) -> SocketAddr {
    let addr = SocketAddr::from((node.addr(), port));
    let listener = inside(node, move || TcpListener::bind(addr).expect("bind"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut buffer = [0; 4096];
                while let Ok(len @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..len]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

pub fn connect(node: &Node, to: SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
    inside(node, move || {
        let stream = TcpStream::connect_timeout(&to, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    })
}

/// True if `node` gets an answer from the echo server at `to`.
pub fn reaches(node: &Node, to: SocketAddr) -> bool {
    connect(node, to, SILENCE).is_ok_and(|mut stream| round_trip(&mut stream).is_some())
}

pub fn round_trip(stream: &mut TcpStream) -> Option<Duration> {
    let start = Instant::now();
    stream.write_all(b"ping").ok()?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).ok()?;
    Some(start.elapsed())
}

pub fn udp(node: &Node, port: u16) -> UdpSocket {
    let addr = SocketAddr::from((node.addr(), port));
    inside(node, move || {
        let socket = UdpSocket::bind(addr).expect("bind");
        socket.set_read_timeout(Some(SILENCE)).expect("timeout");
        socket
    })
}

/// Sends `count` numbered datagrams, slowly enough for the receiver's socket buffer.
pub fn send_numbered(from: &UdpSocket, to: &UdpSocket, count: u32) {
    let to = to.local_addr().expect("address");
    for number in 0..count {
        from.send_to(&number.to_be_bytes(), to).expect("send");
        if number % 32 == 31 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Receives numbers until none has come for a while.
pub fn receive_numbers(socket: &UdpSocket) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut buffer = [0; 4];
    loop {
        match socket.recv(&mut buffer) {
            Ok(4) => numbers.push(u32::from_be_bytes(buffer)),
            Ok(_) => panic!("a datagram of odd length"),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return numbers,
            Err(e) => panic!("receive: {e}"),
        }
    }
}

/// Waits until `condition` holds.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
