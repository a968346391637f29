//! The clients' threads: one per site, each with a runtime of its own, all going through the run's phases
//! together. A client that is killed begins anew where its load was.

mod life;

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

use self::life::connections;
pub use self::life::{Life, Lives};
use crate::lookout::Halt;
use crate::recorder::{Broken, Recorder};
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
    lives: Vec<Arc<Life>>,
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
    life: Arc<Life>,
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
        let mut all = Sites { orders: Vec::new(), threads: Vec::new(), reports, lives: Vec::new() };
        for site in 0..sites {
            let (order, phases) = unbounded_channel();
            let (testbed, workload, report) = (testbed.clone(), workload.clone(), report.clone());
            let life = testbed.life(site);
            all.lives.push(life.clone());
            let plan = Plan {
                testbed: testbed.clone(),
                workload,
                final_reads: final_reads.clone(),
                site,
                sites,
                concurrency,
                op_timeout,
                halt: halt.clone(),
                life,
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
        self.lives.iter().for_each(|life| life.end());
        for thread in self.threads.drain(..) {
            let _ = thread.join(); // a panic in it was reported as a site that died
        }
    }
}

/// A current-thread runtime with timers and sockets, for a thread that lives in a node.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("failed to start a runtime")
}

/// A worker of a site, with what it is to do: both outlive its client's death.
struct Hand<W: Workload> {
    index: u32,
    worker: Worker<W::Client>,
    /// Where the load has got to.
    generator: Option<W::Generator>,
}

fn run_site<T, W>(plan: Plan<T, W>, mut phases: UnboundedReceiver<Phase>, report: &Sender<Result<()>>)
where
    T: Testbed,
    W: Workload + Send + Sync + 'static,
    W::Input: Send + Sync,
{
    let mut shift = Shift { hands: plan.hands(), phase: None, has_begun: false };
    loop {
        let ended = runtime().and_then(|runtime| {
            LocalSet::new().block_on(&runtime, async {
                tokio::select! {
                    biased;
                    () = plan.life.beat() => Ok(End::Killed { connections: connections() }),
                    done = shift.serve(&plan, &mut phases, report) => done.map(|()| End::Over),
                }
            })
        });
        // The runtime is gone, and with it every socket.
        let buried = match ended {
            Ok(End::Over) => return,
            Ok(End::Killed { connections }) => {
                shift.bury(&plan).map(|open| last_words(open, connections)).map_err(Into::into)
            }
            Err(error) => Err(error),
        };
        match buried.map(|said| plan.life.lie_dead(said)) {
            Ok(true) => {}
            Ok(false) => return,
            // Whoever waits for this site is told why it will not come; nobody waiting is no trouble.
            Err(error) => return drop(report.send(Err(error))),
        }
    }
}

/// How one life of a client ended.
enum End {
    /// Connections it had, where they can be told from those of others.
    Killed { connections: Option<usize> },
    /// There is nothing more to do.
    Over,
}

/// What is seen of a client that was killed.
fn last_words(calls_open: usize, connections_before: Option<usize>) -> String {
    let connections = match (connections_before, connections()) {
        (Some(before), Some(after)) => format!(", {before} connections before, {after} after"),
        _ => String::new(),
    };
    format!("dead, {calls_open} calls cut short{connections}")
}

impl<T, W: Workload> Plan<T, W> {
    fn hands(&self) -> Vec<Hand<W>> {
        let mine = (0..self.concurrency).filter(|worker| *worker as usize % self.sites == self.site);
        let hand = |index| {
            let (process, stride) = (u64::from(index), u64::from(self.concurrency));
            let worker = Worker::new(process, stride, self.workload.client(index), self.op_timeout);
            Hand { index, worker, generator: None }
        };
        mine.map(hand).collect()
    }
}

/// What a site has to do, and how far it is.
struct Shift<W: Workload> {
    hands: Vec<Hand<W>>,
    /// What it was told to do and has not done yet.
    phase: Option<Phase>,
    /// It has been open before.
    has_begun: bool,
}

impl<W> Shift<W>
where
    W: Workload + Send + Sync + 'static,
    W::Input: Send + Sync,
{
    /// One life of the site's client: opens it and works, until there is nothing more to do.
    async fn serve<T: Testbed>(
        &mut self,
        plan: &Plan<T, W>,
        phases: &mut UnboundedReceiver<Phase>,
        report: &Sender<Result<()>>,
    ) -> Result<()> {
        let site = plan.testbed.open(plan.site).await?;
        let mut stores: Vec<_> = self.hands.iter().map(|_| plan.testbed.store(&site)).collect();
        if !std::mem::replace(&mut self.has_begun, true) {
            plan.testbed.await_masters(plan.site, &site).await?;
            let _ = report.send(Ok(()));
        }
        plan.life.lives();
        loop {
            if self.phase.is_none() {
                self.phase = phases.recv().await;
            }
            let Some(phase) = &self.phase else { return Ok(()) };
            let hands = self.hands.iter_mut().zip(&mut stores);
            let done = match phase {
                Phase::Load(recorder) => {
                    let load = hands.map(|(hand, store)| {
                        let Hand { index, worker, generator } = hand;
                        let generator = generator.get_or_insert_with(|| plan.workload.generator(*index));
                        worker.work(generator, store, recorder, &plan.halt)
                    });
                    try_join_all(load).await.map(drop)
                }
                Phase::FinalReads(recorder) => {
                    let reads = plan.final_reads.get_or_init(|| plan.workload.final_reads());
                    let read = hands.map(|(hand, store)| {
                        let share = reads.iter().skip(hand.index as usize).step_by(plan.concurrency as usize);
                        read_each::<W, T::Store>(share, &mut hand.worker, store, recorder)
                    });
                    try_join_all(read).await.map(drop)
                }
            };
            self.phase = None;
            let _ = report.send(done.map_err(Into::into));
        }
    }

    /// Its client was killed: how many calls were open, which stay open for ever.
    fn bury<T>(&mut self, plan: &Plan<T, W>) -> Result<usize, Broken> {
        let recorder = match &self.phase {
            Some(Phase::Load(recorder) | Phase::FinalReads(recorder)) => Some(&**recorder),
            None => None,
        };
        let mut open = 0;
        for hand in &mut self.hands {
            open += usize::from(hand.worker.bury(plan.workload.client(hand.index), recorder)?);
        }
        Ok(open)
    }
}

async fn read_each<'a, W: Workload, S: cluster::store::Store>(
    reads: impl Iterator<Item = &'a W::Input>,
    worker: &mut Worker<W::Client>,
    store: &mut S,
    recorder: &Recorder,
) -> Result<(), Broken>
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
