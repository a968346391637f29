//! Flags to a run, checked: pure but for reading the file of faults.

use std::path::Path;

use std::time::Duration;

use anyhow::Result;
use nemesis::{Family, Group, Harm, Limits, Schedule};
use results::spec::RunSpec;
use workloads::generator::Pace;
use workloads::seed::derive;
use workloads::{Client, Generator, Next, Operation, Workload};

use crate::cli::RunArgs;
use crate::exit::UsageError;
use crate::registry::{self, ForWorkload, WorkloadOptions};
use crate::replay::Repeats;

/// All that is settled before anything is raised.
pub struct Plan {
    /// What is run.
    pub spec: RunSpec,
    /// What goes wrong when.
    pub schedule: Schedule,
    /// The file of faults that the schedule stands for, where there is one: kept in the run folder.
    pub faults_file: Option<String>,
    /// The run folder whose faults are issued again, if that is what this run is for.
    pub replays: Option<String>,
    /// What is done to messages again, instead of choosing anew.
    pub repeats: Option<Repeats>,
}

/// What must be there before the first server starts, so that a fault can strike it later.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    /// Every process has a clock of its own, which can be made wrong.
    pub clocks: bool,
    /// The ensemble's data lie on disks that can be made to fail.
    pub disks: bool,
    /// The messages of every connection are read from its first packet on.
    pub messages: bool,
}

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

impl Plan {
    /// Checks the flags and draws what the seed fixes. Every mistake is a [`UsageError`].
    pub fn new(args: &RunArgs) -> Result<Plan> {
        check(args)?;
        // 53 bits: exact for every reader of JSON and TOML.
        let seed = args.seed.unwrap_or_else(|| rand_seed() >> 11);
        let mut spec = RunSpec {
            target: args.target.clone(),
            variant: args.variant.clone(),
            weaken: args.weaken.clone(),
            bug: args.bug.clone(),
            shards: args.shards,
            replicas: args.replicas,
            zookeepers: args.zookeepers,
            workload: args.workload.clone(),
            reshard: reshards(args),
            faults: Vec::new(),
            swarm: args.swarm,
            seed,
            time_limit_s: args.time_limit,
            concurrency: args.concurrency,
            rate: args.rate,
            wait: args.wait.unwrap_or(args.replicas / 2),
            reads: reads(args).to_string(),
            staleness_s: args.staleness_s,
            lease_ms: args.lease_ms,
            op_timeout_ms: args.op_timeout_ms,
            converge_s: args.converge,
            stop_at_first: args.stop_at_first,
            capture: args.capture,
            tls: args.tls,
            authenticated: args.authenticated,
        };
        let (schedule, faults_file) = schedule(&args.faults, &mut spec)?;
        Plan { spec, schedule, faults_file, replays: None, repeats: None }.checked()
    }

    /// The plan of a run whose spec was checked before, with this schedule instead of one drawn for it.
    pub fn again(spec: RunSpec, schedule: Schedule, replays: String) -> Result<Plan> {
        let faults_file = Some(schedule.to_toml());
        Plan { spec, schedule, faults_file, replays: Some(replays), repeats: None }.checked()
    }

    /// Refuses faults that the target cannot take.
    fn checked(self) -> Result<Plan> {
        let needs = self.needs();
        if needs.clocks && self.spec.target == "fake" {
            return Err(usage(
                "clock faults go with --target zk-redis: the fake cluster lives in one process, with one clock",
            ));
        }
        if needs.disks && self.spec.target == "fake" {
            return Err(usage("disk faults go with --target zk-redis: the fake cluster keeps no files"));
        }
        if needs.messages && self.spec.target == "fake" {
            return Err(usage(
                "message faults go with --target zk-redis: the fake cluster has no wire to alter",
            ));
        }
        if self.spec.target == "fake"
            && let Some(window) = self.schedule.windows.iter().find(|window| needs_packets(&window.harm))
        {
            return Err(usage(format!(
                "{} ({}) goes with --target zk-redis: the fake cluster passes whole messages, with no packets, ports \
                 or connections to strike",
                window.harm.family().name(),
                window.harm,
            )));
        }
        Ok(self)
    }

    /// What its faults ask of a cluster from the start.
    pub fn needs(&self) -> Needs {
        let messages =
            self.repeats.is_some() || self.schedule.windows.iter().any(|window| window.harm.reads_messages());
        let any = |group| self.schedule.windows.iter().any(|window| window.harm.family().group() == group);
        Needs { clocks: any(Group::Clock), disks: any(Group::Disk), messages }
    }
}

/// True when a harm is done to packets, not to messages.
fn needs_packets(harm: &Harm) -> bool {
    matches!(harm, Harm::Net(net) if net.needs_packets())
}

fn rand_seed() -> u64 {
    // Not part of any plan: the one draw that nothing fixes.
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id())
}

/// Where reads go: where the user says, else where the workload wants them.
fn reads(args: &RunArgs) -> &str {
    let made_for = if args.workload == "replica-reads" { "replica" } else { "master" };
    args.reads.as_deref().unwrap_or(made_for)
}

/// With any workload if the user says so; one is there for nothing else.
fn reshards(args: &RunArgs) -> bool {
    args.reshard || args.workload == registry::RESHARDING
}

fn check(args: &RunArgs) -> Result<()> {
    registry::one_of("--target", &args.target, registry::TARGETS)?;
    registry::one_of("--variant", &args.variant, &registry::variants())?;
    let weaknesses = registry::weaknesses(&args.weaken)?;
    if !weaknesses.is_empty() && args.target == "fake" {
        return Err(usage(
            "--weaken goes with --target zk-redis: the fake cluster has bugs of its own, see --bug",
        ));
    }
    registry::one_of("--workload", &args.workload, registry::WORKLOADS)?;
    registry::one_of("--reads", reads(args), registry::READS)?;
    if let Some(bug) = &args.bug {
        registry::bug(bug)?;
        if args.target != "fake" {
            return Err(usage("--bug goes with --target fake: only the fake cluster has bugs to switch on"));
        }
    }
    if reshards(args) && args.target == "fake" {
        return Err(usage(
            "--reshard goes with --target zk-redis: the fake cluster's shards stay as they are",
        ));
    }
    let positive = |flag: &str, value: f64, max: f64| {
        if value.is_finite() && value > 0.0 && value <= max {
            Ok(())
        } else {
            Err(usage(format!("{flag} {value}: give seconds between 0 and {max}")))
        }
    };
    positive("--time-limit", args.time_limit, 86_400.0)?;
    positive("--converge", args.converge, 3_600.0)?;
    positive("--staleness-s", args.staleness_s, 86_400.0)?;
    if !(args.rate.is_finite() && args.rate >= 0.0) {
        return Err(usage(format!("--rate {}: give operations per second, or 0 for no limit", args.rate)));
    }
    if args.op_timeout_ms == 0 {
        return Err(usage(
            "--op-timeout-ms 0: a client that waits for nothing gets no answers; give at least 1",
        ));
    }
    check_security(args)?;
    check_copies(args)
}

/// What can be protected, and what cannot prove itself.
fn check_security(args: &RunArgs) -> Result<()> {
    for (flag, given) in [("--tls", args.tls), ("--authenticated", args.authenticated)] {
        if given && args.target == "fake" {
            return Err(usage(format!("{flag} goes with --target zk-redis: the fake cluster has no links")));
        }
    }
    if args.authenticated && reads(args) == "replica" {
        return Err(usage(
            "--authenticated reads at masters: a replica proves nothing, use --reads master or another workload",
        ));
    }
    Ok(())
}

/// Enough copies of every acknowledged write, and not more than there are servers for.
fn check_copies(args: &RunArgs) -> Result<()> {
    let (majority, hardened) = (args.replicas / 2, args.variant == "hardened" && args.target != "fake");
    if hardened && args.replicas > 3 {
        return Err(usage(format!(
            "--replicas {}: WAIT may count one replica twice, so hardened shards have at most 3 servers; use 1 to 3, \
             or another --variant",
            args.replicas
        )));
    }
    let Some(wait) = args.wait else { return Ok(()) };
    if wait >= args.replicas && wait > 0 {
        return Err(usage(format!(
            "--wait {wait}: a shard of {} Redis has {} replicas; lower --wait or raise --replicas",
            args.replicas,
            args.replicas - 1
        )));
    }
    if hardened && wait < majority {
        return Err(usage(format!(
            "--wait {wait}: a hardened shard of {} waits for {majority}; to see what happens without, use --weaken no-wait",
            args.replicas
        )));
    }
    Ok(())
}

/// The schedule that `--faults` asks for, and the file it was read from; fills in `spec.faults`.
fn schedule(faults: &str, spec: &mut RunSpec) -> Result<(Schedule, Option<String>)> {
    let limits = limits(spec);
    let seed = derive(spec.seed, "nemesis", 0);
    if faults.ends_with(".toml") || faults.contains('/') {
        let text = std::fs::read_to_string(faults)
            .map_err(|e| usage(format!("--faults {faults}: cannot be read ({e}); check the path")))?;
        spec.faults = vec![faults.to_string()];
        let schedule =
            Schedule::from_toml(&text, &limits, seed).map_err(|e| usage(format!("--faults {faults}:{e}")))?;
        if spec.swarm {
            return Err(usage(format!(
                "--swarm draws from families: use [swarm] in {faults}, or leave one out"
            )));
        }
        return Ok((schedule, Some(text)));
    }
    let names = faults.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "none");
    let families: Vec<Family> =
        names.map(|name| name.parse().map_err(|e| usage(format!("--faults: {e}")))).collect::<Result<_>>()?;
    spec.faults = families.iter().map(|family| family.name().to_string()).collect();
    let draw = if spec.swarm { Schedule::swarm } else { Schedule::draw };
    Ok((draw(&families, &limits, seed), None))
}

/// What a schedule must stay within.
pub fn limits(spec: &RunSpec) -> Limits {
    Limits {
        time_limit_ms: (spec.time_limit_s * 1_000.0) as u64,
        shards: crate::reshard::shards_raised(spec) as usize,
        replicas: spec.replicas as usize,
        zookeepers: spec.zookeepers as usize,
    }
}

/// How fast the workers go, for how long.
pub fn pace(spec: &RunSpec) -> Pace {
    Pace { rate: spec.rate, concurrency: spec.concurrency, time_limit_ns: (spec.time_limit_s * 1e9) as u64 }
}

/// What the workload of a run is made from.
pub fn workload_options(spec: &RunSpec) -> WorkloadOptions {
    WorkloadOptions {
        seed: derive(spec.seed, "workload", 0),
        pace: pace(spec),
        staleness_max: staleness_max(spec.staleness_s),
    }
}

/// Seconds from a flag; what was not checked before may be too many or too few.
pub fn staleness_max(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

/// The command that repeats a run; `faults_file` stands in for a schedule that came from a file.
pub fn command(spec: &RunSpec, faults_file: Option<&Path>) -> String {
    format!("shardstorm run {}", flags(spec, faults_file).join(" "))
}

/// The flags of `run` that make this spec, word by word.
pub fn flags(spec: &RunSpec, faults_file: Option<&Path>) -> Vec<String> {
    let faults = match faults_file {
        Some(path) => path.display().to_string(),
        None if spec.faults.is_empty() => "none".into(),
        None => spec.faults.join(","),
    };
    let mut words = Vec::new();
    let mut say =
        |flag: &str, value: &dyn std::fmt::Display| words.extend([flag.to_string(), value.to_string()]);
    say("--target", &spec.target);
    say("--variant", &spec.variant);
    if !spec.weaken.is_empty() {
        say("--weaken", &spec.weaken.join(","));
    }
    if let Some(bug) = &spec.bug {
        say("--bug", bug);
    }
    say("--shards", &spec.shards);
    say("--replicas", &spec.replicas);
    say("--zookeepers", &spec.zookeepers);
    say("--workload", &spec.workload);
    say("--faults", &faults);
    say("--seed", &spec.seed);
    say("--time-limit", &spec.time_limit_s);
    say("--concurrency", &spec.concurrency);
    say("--rate", &spec.rate);
    say("--wait", &spec.wait);
    say("--reads", &spec.reads);
    say("--staleness-s", &spec.staleness_s);
    say("--lease-ms", &spec.lease_ms);
    say("--op-timeout-ms", &spec.op_timeout_ms);
    say("--converge", &spec.converge_s);
    let switches = [
        ("--swarm", spec.swarm && faults_file.is_none()),
        ("--reshard", spec.reshard),
        ("--stop-at-first", spec.stop_at_first),
        ("--capture", spec.capture),
        ("--tls", spec.tls),
        ("--authenticated", spec.authenticated),
    ];
    words.extend(switches.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_string()));
    words
}

/// What `plan` prints: everything the seed fixes, as text that is equal byte for byte for equal flags.
pub fn describe(plan: &Plan) -> Result<String> {
    let mut text = format!("# spec\n{}\n# schedule\n", toml::to_string(&plan.spec)?);
    text += &serde_json::to_string_pretty(&plan.schedule)?;
    text += "\n\n# first inputs of each worker: due_ns, input\n";
    let inputs = FirstInputs { workers: plan.spec.concurrency };
    text += &registry::dispatch(&plan.spec.workload, workload_options(&plan.spec), inputs)?;
    Ok(text)
}

/// The first inputs of every worker, a line each.
struct FirstInputs {
    workers: u32,
}

impl ForWorkload for FirstInputs {
    type Output = String;

    fn with<W: Workload>(self, workload: W) -> Result<String> {
        let mut text = String::new();
        for worker in 0..self.workers {
            let (mut generator, mut now_ns) = (workload.generator(worker), 0);
            let mut client = workload.client(worker);
            let mut shown = 0;
            while shown < INPUTS_SHOWN {
                match generator.next(now_ns) {
                    Next::Invoke(input) => {
                        let call = client.prepare(&input).call();
                        text += &format!("{worker} {now_ns} {} {} {}\n", call.f, call.key, call.value);
                        shown += 1;
                    }
                    Next::Wait { until_ns } => now_ns = until_ns,
                    Next::Done => break,
                }
            }
        }
        Ok(text)
    }
}

/// Inputs per worker that `plan` shows.
const INPUTS_SHOWN: usize = 20;
