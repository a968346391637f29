//! The clients' threads: one per site, each with a runtime of its own, all going through the run's phases
//! together.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use checker::EventKind;
use futures_util::future::try_join_all;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use workloads::Workload;

use crate::lookout::Halt;
use crate::recorder::Recorder;
use crate::testbed::Testbed;
use crate::worker::Worker;

/// How often a final read is tried before it is given up; each try is an operation of its own.
const FINAL_READ_TRIES: usize = 10;
const FINAL_READ_PAUSE: Duration = Duration::from_millis(100);

/// What the sites are told to do next.
enum Phase {
    Load(Arc<Recorder>),
    FinalReads(Arc<Recorder>),
}

/// All client threads of a run. Dropping it lets them end and waits for it: they hold the testbed, which is
/// to go down when the run says so.
pub struct Sites {
    orders: Vec<UnboundedSender<Phase>>,
    threads: Vec<JoinHandle<()>>,
    reports: Receiver<Result<()>>,
}

/// What a site's thread needs to know.
struct Plan<T, W: Workload> {
    testbed: Arc<T>,
    workload: Arc<W>,
    /// What all sites together read in the end, decided by the first that comes so far: what is read may change
    /// what there is to read.
    final_reads: Arc<OnceLock<Vec<W::Input>>>,
    site: usize,
    sites: usize,
    concurrency: u32,
    op_timeout: Duration,
    halt: Halt,
}

impl Sites {
    /// Starts a thread per site and opens it; returns when all are ready to work.
    pub fn open<T, W>(
        testbed: &Arc<T>,
        workload: &Arc<W>,
        concurrency: u32,
        op_timeout: Duration,
        halt: Halt,
    ) -> Result<Sites>
    where
        T: Testbed,
        W: Workload + Send + Sync + 'static,
        W::Input: Send + Sync,
    {
        let (report, reports) = channel();
        let sites = testbed.sites();
        let final_reads = Arc::new(OnceLock::new());
        let mut all = Sites { orders: Vec::new(), threads: Vec::new(), reports };
        for site in 0..sites {
            let (order, phases) = unbounded_channel();
            let (testbed, workload, report) = (testbed.clone(), workload.clone(), report.clone());
            let plan = Plan {
                testbed: testbed.clone(),
                workload,
                final_reads: final_reads.clone(),
                site,
                sites,
                concurrency,
                op_timeout,
                halt: halt.clone(),
            };
            all.threads.push(testbed.enter(site, Box::new(move || run_site(plan, phases, &report)))?);
            all.orders.push(order);
        }
        all.await_all(Duration::from_secs(15)).context("failed to open the clients")?;
        Ok(all)
    }

    /// Lets every worker work until its generator is done; `each_tick` is called some times a second meanwhile.
    pub fn load(&self, recorder: &Arc<Recorder>, each_tick: impl FnMut()) -> Result<()> {
        self.go(|| Phase::Load(recorder.clone()), each_tick)
    }

    /// Reads everything the workload has touched.
    pub fn final_reads(&self, recorder: &Arc<Recorder>, each_tick: impl FnMut()) -> Result<()> {
        self.go(|| Phase::FinalReads(recorder.clone()), each_tick)
    }

    fn go(&self, phase: impl Fn() -> Phase, mut each_tick: impl FnMut()) -> Result<()> {
        for order in &self.orders {
            order.send(phase()).map_err(|_| anyhow!("a client thread has died"))?;
        }
        let mut first_error = Ok(());
        for _ in &self.orders {
            let report = loop {
                match self.reports.recv_timeout(Duration::from_millis(100)) {
                    Ok(report) => break report,
                    Err(RecvTimeoutError::Timeout) => each_tick(),
                    Err(RecvTimeoutError::Disconnected) => bail!("the client threads have died"),
                }
            };
            first_error = first_error.and(report);
        }
        first_error
    }

    fn await_all(&self, bound: Duration) -> Result<()> {
        for _ in &self.orders {
            match self.reports.recv_timeout(bound) {
                Ok(report) => report?,
                Err(_) => bail!("a client was not ready after {} s", bound.as_secs()),
            }
        }
        Ok(())
    }
}

impl Drop for Sites {
    fn drop(&mut self) {
        self.orders.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic in it was reported as a site that died
        }
    }
}

/// A current-thread runtime with timers and sockets, for a thread that lives in a node.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start a runtime")
}

fn run_site<T, W>(plan: Plan<T, W>, phases: UnboundedReceiver<Phase>, report: &Sender<Result<()>>)
where
    T: Testbed,
    W: Workload + Send + Sync + 'static,
    W::Input: Send + Sync,
{
    let ended =
        runtime().and_then(|runtime| LocalSet::new().block_on(&runtime, serve_phases(plan, phases, report)));
    if let Err(error) = ended {
        // Whoever waits for this site is told why it will not come; nobody waiting is no trouble.
        let _ = report.send(Err(error));
    }
}

async fn serve_phases<T, W>(
    plan: Plan<T, W>,
    mut phases: UnboundedReceiver<Phase>,
    report: &Sender<Result<()>>,
) -> Result<()>
where
    T: Testbed,
    W: Workload + Send + Sync + 'static,
    W::Input: Send + Sync,
{
    let site = plan.testbed.open(plan.site).await?;
    let mine = (0..plan.concurrency).filter(|worker| *worker as usize % plan.sites == plan.site);
    let mut hands: Vec<_> = mine
        .map(|index| {
            let worker = Worker {
                process: u64::from(index),
                stride: u64::from(plan.concurrency),
                client: plan.workload.client(index),
                op_timeout: plan.op_timeout,
            };
            (index, worker, plan.testbed.store(&site))
        })
        .collect();
    let _ = report.send(Ok(()));
    while let Some(phase) = phases.recv().await {
        let done = match phase {
            Phase::Load(recorder) => {
                let all = hands.iter_mut().map(|(index, worker, store)| {
                    worker.work(plan.workload.generator(*index), store, &recorder, &plan.halt)
                });
                try_join_all(all).await.map(drop)
            }
            Phase::FinalReads(recorder) => {
                let reads = plan.final_reads.get_or_init(|| plan.workload.final_reads());
                let all = hands.iter_mut().map(|(index, worker, store)| {
                    let share = reads.iter().skip(*index as usize).step_by(plan.concurrency as usize);
                    read_each::<W, T::Store>(share, worker, store, &recorder)
                });
                try_join_all(all).await.map(drop)
            }
        };
        let _ = report.send(done.map_err(Into::into));
    }
    Ok(())
}

async fn read_each<'a, W: Workload, S: cluster::store::Store>(
    reads: impl Iterator<Item = &'a W::Input>,
    worker: &mut Worker<W::Client>,
    store: &mut S,
    recorder: &Recorder,
) -> Result<(), crate::recorder::Broken>
where
    W::Input: 'a,
{
    for read in reads {
        for _ in 0..FINAL_READ_TRIES {
            if worker.call(read, store, recorder).await? == EventKind::Ok {
                break;
            }
            tokio::time::sleep(FINAL_READ_PAUSE).await;
        }
    }
    Ok(())
}
