//! `add-shard`, `remove-shard`, `resume`: a driver with a terminal.

use std::{net::SocketAddr, ops::ControlFlow};

use anyhow::{Context, Result};
use cluster::{
    reshard::{self, Goal, Options, Progress, Report, Stage},
    znodes::RedisNode,
};

use crate::{Access, options};

/// A server of the new shard: `NAME=ADDRESS`.
pub fn node(text: &str) -> Result<RedisNode, String> {
    let (node, addr) = text.split_once('=').ok_or("not of the form NAME=ADDRESS:PORT")?;
    let addr: SocketAddr =
        addr.parse().map_err(|_| format!("{addr} is not an address like 127.0.0.1:6379"))?;
    if node.is_empty() {
        return Err("a server needs a name".into());
    }
    Ok(RedisNode { node: node.to_owned(), addr })
}

/// Changes the ring, a line for every move.
pub async fn change(cluster: &Access, goal: Goal, nodes: &[RedisNode], batch_slots: u16) -> Result<()> {
    let options = Options {
        batch_slots: usize::from(batch_slots),
        transport: cluster.transport.clone(),
        ..Options::new(&cluster.zookeeper, options(cluster)?)
    };
    if let (Goal::Add(shard), false) = (goal, nodes.is_empty()) {
        reshard::introduce(&options, shard, nodes).await?;
    }
    let mut watch = |progress: Progress<'_>| {
        if let Some(line) = line(&progress) {
            println!("{line}");
        }
        ControlFlow::Continue(())
    };
    let report = reshard::run(&options, goal, &mut watch).await.with_context(|| goal.to_string())?;
    println!("{}", told(&report));
    Ok(())
}

fn line(progress: &Progress<'_>) -> Option<String> {
    match progress.stage {
        Stage::Taken => Some(format!("{} slots to move", progress.slots_left)),
        Stage::Switched => progress.report.moves.last().map(|moved| {
            format!(
                "{} slots from shard {} to shard {}: {} keys, away for {} ms; {} slots left",
                moved.slots,
                moved.from,
                moved.to,
                moved.keys,
                moved.unavailable.as_millis(),
                progress.slots_left
            )
        }),
        _ => None,
    }
}

fn told(report: &Report) -> String {
    let away = report.unavailable().map_or(String::new(), |(median, longest)| {
        format!(
            "; a slot was away for {} ms (median), {} ms (longest)",
            median.as_millis(),
            longest.as_millis()
        )
    });
    let seconds = report.duration.as_secs_f64();
    format!("done: {} slots and {} keys in {seconds:.1} s{away}", report.slots(), report.keys())
}
