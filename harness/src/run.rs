//! One run, from an empty machine to a judged folder.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use checker::Budget;
use nemesis::byzantine::Strike;
use nemesis::{StopSignal, run_lanes};
use results::summary::{Liveness, NodeEvent};
use results::writer::RunFile;
use results::{Journal, RunFolder};
use workloads::Workload;

use crate::check::Alarm;
use crate::cli::RunArgs;
use crate::exit::Exit;
use crate::judge::{Judged, Outcome, judge};
use crate::lookout::{Halt, Lookout};
use crate::messages;
use crate::plan::{self, Plan};
use crate::progress::Progress;
use crate::recorder::{Recorder, RunClock};
use crate::registry::{self, ForWorkload};
use crate::reshard;
use crate::settle::settle;
use crate::signals::Interrupt;
use crate::sites::Sites;
use crate::tell;
use crate::testbed::Testbed;
use crate::testbed::fake::FakeTestbed;
use crate::testbed::zk_redis::ZkRedis;
use crate::wiretap;

/// Plans, runs, judges, draws, and says how it ended.
pub fn run(args: &RunArgs) -> Result<Exit> {
    let plan = Plan::new(args)?;
    Ok(carry_out(&plan, &args.store, args.budget_memory, args.budget_time)?.exit)
}

/// How a run ended, and where it lies.
pub struct Done {
    /// Its folder.
    pub folder: RunFolder,
    /// Its end.
    pub exit: Exit,
}

/// Runs a plan below `store`, judges within the budget of bytes and time, draws, and tells the user.
pub fn carry_out(plan: &Plan, store: &Path, budget_memory: u64, budget_time: Duration) -> Result<Done> {
    if plan.spec.target == "zk-redis" {
        crate::doctor::require_for_run()?;
        if plan.needs().disks {
            crate::doctor::require_disks()?;
        }
    }
    let interrupt = Interrupt::install();
    // Servers run in folders of their own: a path relative to ours would mean another place to them.
    let store = std::path::absolute(store).context("failed to find the current folder")?;
    let folder = RunFolder::create(&store, &format!("{}-{}", plan.spec.workload, plan.spec.seed))?;
    // Where there are no locks, whoever looks has to guess whether the run goes on.
    let _held = folder.hold();
    folder.write_schedule(&plan.schedule)?;
    // A schedule that came from a file is repeated from the copy in the run folder.
    let faults_file = plan.faults_file.as_ref().map(|text| folder.write_faults(text)).transpose()?;
    let command = plan::command(&plan.spec, faults_file.map(|()| folder.faults()).as_deref());
    eprintln!("shardstorm: run {} (seed {})", folder.path().display(), plan.spec.seed);
    let mut story = Story { outcome: Outcome::default(), phase: ("raise", Instant::now()), zero_ns: None };
    let act = Act { plan, folder: &folder, command, interrupt, story: &mut story };
    let ran = registry::dispatch(&plan.spec.workload, plan::workload_options(&plan.spec), act);
    if let Err(error) = ran {
        story.outcome.error = Some(format!("failed to {}: {error:#}", story.phase.0));
    }
    story.enter("judge");
    let budget = Budget::of_bytes(budget_memory);
    let _alarm = Alarm::set(Some(budget_time), budget.stop.clone()).context("failed to start a thread")?;
    let exit = conclude(&folder, story, &budget)?;
    Ok(Done { folder, exit })
}

/// How far a run came, for its summary.
struct Story {
    outcome: Outcome,
    phase: (&'static str, Instant),
    /// What the wall clock read when the run's read 0.
    zero_ns: Option<i64>,
}

impl Story {
    fn enter(&mut self, phase: &'static str) {
        let (last, since) = std::mem::replace(&mut self.phase, (phase, Instant::now()));
        self.outcome.phases_s.push((last.into(), since.elapsed().as_secs_f64()));
    }
}

/// What a run does between plan and judgement.
struct Act<'a> {
    plan: &'a Plan,
    folder: &'a RunFolder,
    command: String,
    interrupt: Interrupt,
    story: &'a mut Story,
}

impl ForWorkload for Act<'_> {
    type Output = ();

    fn with<W>(self, workload: W) -> Result<()>
    where
        W: Workload + Send + Sync + 'static,
        W::Input: Send + Sync,
    {
        let (spec, folder, needs) = (&self.plan.spec, self.folder, self.plan.needs());
        match spec.target.as_str() {
            "fake" => whole(self, workload, || FakeTestbed::up(spec)),
            _ => whole(self, workload, || ZkRedis::up(spec, folder, needs)),
        }
    }
}

/// Raise, load and harm, settle, read all once more, take down.
fn whole<T, W>(act: Act<'_>, workload: W, raise: impl FnOnce() -> Result<T>) -> Result<()>
where
    T: Testbed,
    W: Workload + Send + Sync + 'static,
    W::Input: Send + Sync,
{
    let Act { plan, folder, command, interrupt, story } = act;
    let spec = &plan.spec;
    let run_file = |versions: &[(String, String)]| {
        RunFile::new(spec.clone(), results::utc::rfc3339(SystemTime::now()), command.clone(), versions)
            .replaying(plan.replays.clone())
    };
    folder.write_run(&run_file(&crate::doctor::own_versions()))?; // a folder that explains itself from the start
    let testbed = Arc::new(raise()?);
    let versions: Vec<_> = crate::doctor::own_versions().into_iter().chain(testbed.versions()).collect();
    folder.write_run(&run_file(&versions))?;
    if let Some(repeats) = &plan.repeats {
        testbed.repeat(repeats.in_roles_of(testbed.topology(), &testbed.view()));
    }
    let workload = Arc::new(workload);
    let op_timeout = Duration::from_millis(spec.op_timeout_ms);
    let halt = Halt::new(interrupt);
    let sites = Sites::open(&testbed, &workload, spec.concurrency, op_timeout, halt.clone())?;
    let progress = Progress::start();
    let recorder = Recorder::new(Journal::create(&folder.history())?, RunClock::start());
    let (lookout, recorder) = match spec.stop_at_first {
        true => Lookout::start(&*workload, op_timeout, halt.clone(), recorder)
            .map(|(lookout, recorder)| (Some(lookout), recorder))?,
        false => (None, recorder),
    };
    let recorder = Arc::new(recorder);
    let tick = || progress.tick(recorder.counts(), || testbed.view());

    story.enter("load");
    story.zero_ns = Some(recorder.clock().zero_on_the_wall_ns());
    recorder.phase("load")?;
    let unfinished = under_fire(plan, &*testbed, &recorder, &progress, &halt, |look| {
        sites.load(&recorder, || {
            tick();
            look();
        })
    })?;
    story.enter("settle");
    recorder.phase("settle")?;
    if interrupt.asked() {
        story.outcome.cut_short = Some("interrupted by the user".into());
        progress.say(
            "shardstorm: interrupted; all faults are healed, judging what was seen (again: stop at once)",
        );
    }
    if let Some(anomaly) = halt.found() {
        let why = format!("at the first violation, {} on key {}", anomaly.name, anomaly.key);
        progress.say(&format!("shardstorm: stopped {why}: {}", anomaly.reason));
        story.outcome.cut_short = Some(format!("stopped {why}"));
    } else {
        let bound = Duration::from_secs_f64(spec.converge_s);
        let liveness = settle(&testbed, bound, interrupt, tick)?.and_unless(bound, unfinished);
        if matches!(liveness, Liveness::Live { .. }) && !interrupt.asked() {
            recorder.phase("final-reads")?;
            sites.final_reads(&recorder, tick)?;
        }
        story.outcome.liveness = Some(liveness);
    }
    progress.end();

    story.enter("take down");
    drop(sites);
    write_agent_events(folder, &*testbed, recorder.clock())?;
    write_strikes(folder, testbed.strikes(), recorder.clock())?;
    recorder.phase("end")?;
    drop(testbed);
    match Arc::into_inner(recorder) {
        Some(recorder) => recorder.finish().map_err(anyhow::Error::msg)?,
        None => return Ok(()), // a client thread still holds it; every event is in the file already
    }
    if let Some(Err(why)) = lookout.map(Lookout::join) {
        eprintln!("shardstorm: the history could not be judged while it was recorded: {why}");
    }
    Ok(())
}

/// Lets `load` run while the schedule's faults strike and shards come and go; returns when all that is over, with
/// the changes of the ring that were not complete in time. `load` is to look now and then whether it ends early: what
/// it waits for may be a client that a fault holds.
fn under_fire<T: Testbed>(
    plan: &Plan,
    testbed: &T,
    recorder: &Recorder,
    progress: &Progress,
    halt: &Halt,
    load: impl FnOnce(&mut dyn FnMut()) -> Result<()>,
) -> Result<Vec<String>> {
    let stop = StopSignal::default();
    let record = |edge: nemesis::Edge<'_>| {
        progress.fault(&edge);
        let _ = recorder.fault(&edge); // a broken journal ends the load, which reports it
    };
    let cut_short = Arc::new(AtomicBool::new(false));
    let (loaded, unfinished, troubles) = std::thread::scope(|scope| {
        let lanes =
            scope.spawn(|| run_lanes(&plan.schedule, testbed, recorder.clock().origin(), &stop, &record));
        let changes = scope.spawn(|| reshard::carry_out(plan, testbed, recorder, progress, &cut_short));
        let end = || {
            stop.stop();
            cut_short.store(true, Ordering::Relaxed);
        };
        let loaded = load(&mut || {
            if halt.asked() || recorder.broken().is_some() {
                end();
            }
        });
        if loaded.is_err() || halt.asked() {
            end();
        }
        (
            loaded,
            changes.join().unwrap_or_else(|_| vec!["the thread that changes the ring has panicked".into()]),
            lanes.join().unwrap_or_else(|_| vec!["the nemesis has panicked".into()]),
        )
    });
    match (recorder.broken(), troubles.first()) {
        (Some(why), _) => Err(anyhow::Error::msg(why.to_string())),
        (None, Some(_)) => Err(anyhow::Error::msg(troubles.join("; "))),
        (None, None) => loaded.map(|()| unfinished),
    }
}

/// The agents' steps, put on the run clock, in order of time.
fn write_agent_events<T: Testbed>(folder: &RunFolder, testbed: &T, clock: &RunClock) -> Result<()> {
    let mut events: Vec<NodeEvent> = testbed
        .agent_events()?
        .into_iter()
        .map(|event| NodeEvent {
            time_ns: clock.of_mono(event.mono_ns),
            shard: event.shard,
            node: event.node,
            step: event.step.name().into(),
            epoch: event.epoch,
            detail: event.detail,
        })
        .collect();
    events.sort_by_key(|event| event.time_ns);
    let mut writer = folder.node_events()?;
    events.iter().try_for_each(|event| writer.append(event))?;
    Ok(())
}

/// Every message altered, before and after, on the run clock; no file where nothing was.
fn write_strikes(folder: &RunFolder, strikes: Vec<Strike>, clock: &RunClock) -> Result<()> {
    if strikes.is_empty() {
        return Ok(());
    }
    let mut writer = folder.strike_lines()?;
    strikes.into_iter().try_for_each(|strike| {
        let time_ns = clock.of_mono(strike.at_ns);
        Ok(writer.append(&wiretap::line(strike, time_ns))?)
    })
}

/// Judges the folder, writes verdict and report, tells the user.
fn conclude(folder: &RunFolder, story: Story, budget: &Budget) -> Result<Exit> {
    let failed = story.outcome.error.clone();
    let zero_ns = story.zero_ns;
    let mut judged = match judge(folder, story.outcome, budget) {
        Ok(mut judged) => {
            judged.summary.phases_s.push((story.phase.0.into(), story.phase.1.elapsed().as_secs_f64()));
            judged
        }
        Err(error) => {
            let _ = std::fs::remove_file(folder.packets());
            eprintln!("shardstorm: failed to judge {}: {error:#}", folder.path().display());
            if let Some(error) = failed {
                eprintln!("shardstorm: {error}");
            }
            return Ok(Exit::Harness);
        }
    };
    folder.write_summary(&judged.summary)?;
    if let Err(error) = listen(folder, &mut judged, zero_ns) {
        eprintln!("shardstorm: the messages between the nodes could not be read: {error:#}");
    }
    let report = judged.draw(folder, &judged.summary)?;
    print!("{}", tell::summary(&judged.summary, &report));
    if let Some(error) = failed {
        eprintln!("shardstorm: {error}");
    }
    Ok(Exit::from_code(judged.summary.exit_code))
}

/// Keeps the messages around what was found, and lets go of the packets they were read from unless those were asked for.
fn listen(folder: &RunFolder, judged: &mut Judged, zero_ns: Option<i64>) -> Result<()> {
    let recording = if judged.summary.spec.capture { folder.capture() } else { folder.packets() };
    let (Some(zero_ns), true) = (zero_ns, recording.is_file()) else { return Ok(()) };
    let heard = messages::around(judged, &recording, zero_ns);
    if !judged.summary.spec.capture {
        std::fs::remove_file(&recording).context("failed to remove the recording")?;
    }
    judged.record.messages = heard?;
    Ok(folder.write_messages(&judged.record.messages)?)
}
