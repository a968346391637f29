//! A connection that can be held, cut, and held at a given request.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// What passes.
#[derive(Debug, Clone, Default)]
struct Gate {
    hold_requests: bool,
    hold_replies: bool,
    /// New connections are refused, old ones end.
    cut: bool,
    /// What to do when a request holds these bytes.
    trap: Option<(Vec<u8>, Trap)>,
    trapped: bool,
}

/// What to do with the request in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trap {
    /// It does not reach the server until [`Proxy::flow`].
    HoldRequest,
    /// It does, but its reply does not come back until [`Proxy::flow`].
    HoldReply,
}

/// In front of one server, for one client.
pub struct Proxy {
    pub addr: SocketAddr,
    gate: Arc<watch::Sender<Gate>>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let gate = Arc::new(watch::Sender::new(Gate::default()));
        let task = tokio::spawn(accept(listener, server, gate.clone()));
        Proxy { addr, gate, task }
    }

    /// Nothing gets through, and nobody is told.
    pub fn hold(&self) {
        self.gate.send_modify(|gate| (gate.hold_requests, gate.hold_replies) = (true, true));
    }

    /// Connections end, and no new ones are made.
    pub fn cut(&self) {
        self.gate.send_modify(|gate| gate.cut = true);
    }

    /// Everything gets through, also what was held on connections that still exist.
    pub fn flow(&self) {
        self.gate.send_modify(|gate| *gate = Gate::default());
    }

    /// Waits for the next request that holds `bytes` after doing `act`.
    pub async fn trap(&self, bytes: &str, trap: Trap) {
        self.gate.send_modify(|gate| {
            gate.trap = Some((bytes.as_bytes().to_vec(), trap));
            gate.trapped = false;
        });
    }

    /// Waits until the trap has caught its request.
    pub async fn caught(&self) {
        let mut gate = self.gate.subscribe();
        let caught = gate.wait_for(|gate| gate.trapped);
        timeout(Duration::from_secs(30), caught).await.expect("the request comes").expect("the gate stays");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.gate.send_modify(|gate| gate.cut = true);
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, gate: Arc<watch::Sender<Gate>>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { return };
        if gate.borrow().cut {
            continue;
        }
        let Ok(upstream) = TcpStream::connect(server).await else { continue };
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = upstream.into_split();
        tokio::spawn(ends_when_cut(gate.clone(), requests(client_in, server_out, gate.clone())));
        tokio::spawn(ends_when_cut(gate.clone(), replies(server_in, client_out, gate.clone())));
    }
}

async fn ends_when_cut(gate: Arc<watch::Sender<Gate>>, pump: impl Future<Output = ()>) {
    let mut cut = gate.subscribe();
    tokio::select! {
        () = pump => {}
        _ = cut.wait_for(|gate| gate.cut) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gate: Arc<watch::Sender<Gate>>) {
    let mut buf = vec![0; 64 * 1024];
    let mut opened = gate.subscribe();
    while let Ok(n @ 1..) = from.read(&mut buf).await {
        gate.send_if_modified(|gate| {
            let Some((bytes, trap)) = gate.trap.clone() else { return false };
            let caught = buf[..n].windows(bytes.len()).any(|window| window == bytes);
            if caught {
                gate.trap = None;
                gate.trapped = true;
                gate.hold_requests |= trap == Trap::HoldRequest;
                gate.hold_replies |= trap == Trap::HoldReply;
            }
            caught
        });
        if opened.wait_for(|gate| !gate.hold_requests).await.is_err()
            || to.write_all(&buf[..n]).await.is_err()
        {
            return;
        }
    }
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, gate: Arc<watch::Sender<Gate>>) {
    let mut buf = vec![0; 64 * 1024];
    let mut opened = gate.subscribe();
    while let Ok(n @ 1..) = from.read(&mut buf).await {
        if opened.wait_for(|gate| !gate.hold_replies).await.is_err() || to.write_all(&buf[..n]).await.is_err()
        {
            return;
        }
    }
}
