//! Two Redis servers at one address: what clients see that do not meet the same one.

use std::ffi::OsString;
use std::net::Ipv4Addr;

use ::redis::FromRedisValue;
use anyhow::{Context, Result};
use cluster::provision::redis;
use lab::Twin;

use super::pair::PORT;
use super::rig::{Rig, eventually};
use super::seen::Seen;
use super::stage::Stage;

const SERVER: &str = "server";
const TWIN: &str = "twin";
/// The client that always meets the server.
const NEAR: &str = "c1";
/// The client that meets the twin.
const FAR: &str = "c2";

/// One client's write is acknowledged by the server, the other's by its twin.
pub fn at_one_address(stage: &Stage) -> Result<Seen> {
    let installed = redis::find()?;
    let mut rig = Rig::up(stage.folder(), &[SERVER, TWIN, NEAR, FAR])?;
    for node in [SERVER, TWIN] {
        let dir = rig.dir(node)?;
        let mut argv: Vec<OsString> = vec![installed.program.clone().into()];
        let flags =
            ["--port", &PORT.to_string(), "--bind", "0.0.0.0", "--protected-mode", "no", "--save", ""];
        argv.extend(flags.map(OsString::from));
        rig.start(node, "redis", argv, dir)?;
        let addr = rig.node(node).addr();
        eventually("Redis answers", super::pair::BOUND, || {
            Ok(ask::<String>(&rig, NEAR, addr, &["PING"]).is_ok().then_some(()))
        })?;
    }
    let of = |node: &str| rig.node(node).id();
    let twin = Twin { name: "twins".into(), of: of(SERVER), other: of(TWIN), shown_to: vec![of(FAR)] };
    let twins = (!stage.is_control()).then(|| rig.fabric().twin(twin)).transpose()?;

    let addr = rig.node(SERVER).addr();
    let mut seen = Seen::default();
    ask::<()>(&rig, NEAR, addr, &["SET", "k", "first"])?;
    let read: Option<String> = ask(&rig, FAR, addr, &["GET", "k"])?;
    seen.note("c2 reads after c1 wrote `first`", read.as_deref().unwrap_or("nothing"));
    seen.promise(read.as_deref() == Some("first"), "an acknowledged write is seen by everybody");
    ask::<()>(&rig, FAR, addr, &["SET", "k", "second"])?;
    let read: Option<String> = ask(&rig, NEAR, addr, &["GET", "k"])?;
    seen.note("c1 reads after c2 wrote `second`", read.as_deref().unwrap_or("nothing"));
    seen.promise(read.as_deref() == Some("second"), "the last acknowledged write is what the key holds");
    if let Some(twins) = twins {
        let counters = twins.counters();
        seen.note("packets led to the twin, and taken for the server's", format!("{counters:?}"));
        stage.count(counters.led + counters.posed);
    }
    Ok(seen)
}

/// A command over a connection of its own, from a client's node.
fn ask<T>(rig: &Rig, node: &str, addr: Ipv4Addr, words: &'static [&'static str]) -> Result<T>
where
    T: FromRedisValue + Send + 'static,
{
    rig.inside(node, move || {
        let client = ::redis::Client::open((addr.to_string(), PORT))?;
        let mut connection = client.get_connection_with_timeout(super::pair::BOUND)?;
        let mut command = ::redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).with_context(|| words.join(" "))
    })
}
