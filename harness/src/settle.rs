//! After the last heal: does every shard take writes again within the bound?

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use cluster::store::Store;
use results::summary::Liveness;

use crate::signals::Interrupt;
use crate::sites::runtime;
use crate::testbed::Testbed;

const PROBE_TIMEOUT: Duration = Duration::from_millis(500);
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// Writes to every shard from the harness's own site until each has acknowledged one, or the bound passes.
///
/// `each_tick` is called some times a second meanwhile.
pub fn settle<T: Testbed>(
    testbed: &Arc<T>,
    bound: Duration,
    interrupt: Interrupt,
    mut each_tick: impl FnMut(),
) -> Result<Liveness> {
    let (report, reports) = channel();
    let prober = testbed.clone();
    let job = move || {
        let outcome = runtime().and_then(|rt| rt.block_on(probe_all(&*prober, bound, interrupt)));
        let _ = report.send(outcome); // nobody left to tell: the run is over
    };
    let thread = testbed.enter(testbed.sites(), Box::new(job))?;
    let outcome = loop {
        match reports.recv_timeout(Duration::from_millis(100)) {
            Ok(outcome) => break outcome,
            Err(RecvTimeoutError::Timeout) => each_tick(),
            Err(RecvTimeoutError::Disconnected) => bail!("the probe thread has died"),
        }
    };
    thread.join().map_err(|_| anyhow!("the probe thread has panicked"))?;
    outcome
}

async fn probe_all<T: Testbed>(testbed: &T, bound: Duration, interrupt: Interrupt) -> Result<Liveness> {
    let start = Instant::now();
    let site = testbed.open(testbed.sites()).await?;
    let mut store = testbed.store(&site);
    let mut why = Vec::new();
    let asked_before = interrupt.asked();
    for (shard, key) in testbed.probe_keys().iter().enumerate() {
        let mut last = "not tried: the bound passed on an earlier shard".to_string();
        loop {
            if start.elapsed() >= bound || (interrupt.asked() && !asked_before) {
                why.push(format!("shard {shard}: {last}"));
                break;
            }
            // Writes, since a shard that only answers reads has not recovered.
            match tokio::time::timeout(PROBE_TIMEOUT, store.write(key, "probe")).await {
                Ok(reply) => match reply.result {
                    Ok(()) => break,
                    Err(error) => last = format!("a write failed: {error}"),
                },
                Err(_) => last = format!("a write was not answered within {} ms", PROBE_TIMEOUT.as_millis()),
            }
            tokio::time::sleep(PROBE_PAUSE).await;
        }
    }
    if why.is_empty() {
        return Ok(Liveness::Live { after_s: start.elapsed().as_secs_f64() });
    }
    why.extend(testbed.diagnose());
    Ok(Liveness::NotLive { bound_s: bound.as_secs_f64(), why })
}
