//! `members`: workers join groups, leave them, and list who is there.
//!
//! Each worker has one name, `m<worker>`. A `join` of one that is a member already asks under which incarnation
//! it certainly is: two equal answers are one unbroken stay, which every list between must show.

use std::collections::BTreeMap;

use checker::object::membership::Membership;
use checker::{Checker, EventKind, History, OpEnd};
use cluster::store::{CallError, Reply, Store};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::generator::{Draw, Mix, Pace, Paced, Slot};
use crate::outcome::{self, Effect};
use crate::seed::derive;
use crate::{Call, Client, Completion, Operation, Workload};

/// What the members workload is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct MembersOptions {
    /// Fixes every input.
    pub seed: u64,
    /// Rate, number of workers, time limit.
    pub pace: Pace,
    /// Groups, at least 1.
    pub groups: u32,
    /// Relative frequency of joins, which are mostly questions whether one still is in.
    pub join_weight: u32,
    /// Relative frequency of leaves.
    pub leave_weight: u32,
    /// Relative frequency of lists.
    pub list_weight: u32,
}

impl MembersOptions {
    /// One group; 40 % joins, 5 % leaves, 55 % lists.
    pub fn new(seed: u64, pace: Pace) -> Self {
        MembersOptions { seed, pace, groups: 1, join_weight: 40, leave_weight: 5, list_weight: 55 }
    }
}

/// What a worker may be asked to do with a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Be in it.
    Join,
    /// Leave it. One that is not in it lists instead.
    Leave,
    /// Who is in it?
    List,
}

/// What a worker is asked to do. Pure function of seed, worker and options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Input {
    /// Which group.
    pub group: u32,
    /// What with it.
    pub kind: Kind,
}

/// An input with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    group: u32,
    kind: Kind,
    member: String,
}

impl Op {
    fn group_name(&self) -> String {
        format!("g{}", self.group)
    }

    fn argument(&self) -> Value {
        match self.kind {
            Kind::Join | Kind::Leave => json!(self.member),
            Kind::List => Value::Null,
        }
    }

    fn complete<T>(&self, reply: Reply<T>, value: impl FnOnce(T) -> Value) -> Completion {
        let effect = if self.kind == Kind::List { Effect::Observes } else { Effect::Updates };
        let (kind, value, error) = match reply.result {
            Ok(answer) => (EventKind::Ok, value(answer), None),
            Err(error) => (outcome::of_error(effect, &error), self.argument(), Some(error.reason.into())),
        };
        Completion { kind, value, error, served_by: reply.served_by }
    }
}

impl Operation for Op {
    fn call(&self) -> Call {
        let f = match self.kind {
            Kind::Join => "join",
            Kind::Leave => "leave",
            Kind::List => "members",
        };
        Call { f, key: self.group_name(), value: self.argument() }
    }
}

/// Draws one worker's inputs.
#[derive(Debug)]
pub struct MembersDraw {
    rng: ChaCha8Rng,
    mix: Mix<Kind>,
    groups: u32,
}

impl Draw for MembersDraw {
    type Input = Input;

    fn draw(&mut self, _slot: Slot) -> Input {
        Input { kind: self.mix.draw(&mut self.rng), group: self.rng.random_range(0..self.groups) }
    }
}

/// The members workload.
#[derive(Debug, Clone)]
pub struct Members {
    options: MembersOptions,
    mix: Mix<Kind>,
}

impl Members {
    /// The workload; none if all weights are 0.
    pub fn new(options: MembersOptions) -> Option<Self> {
        let mix = Mix::new([
            (Kind::Join, options.join_weight),
            (Kind::Leave, options.leave_weight),
            (Kind::List, options.list_weight),
        ])?;
        Some(Members { options: MembersOptions { groups: options.groups.max(1), ..options }, mix })
    }
}

impl Workload for Members {
    type Input = Input;
    type Generator = Paced<MembersDraw>;
    type Client = MembersClient;

    fn name(&self) -> &'static str {
        "members"
    }

    fn generator(&self, worker: u32) -> Paced<MembersDraw> {
        let seed = derive(self.options.seed, "members", u64::from(worker));
        let rng = ChaCha8Rng::seed_from_u64(derive(seed, "inputs", 0));
        let draw = MembersDraw { rng, mix: self.mix.clone(), groups: self.options.groups };
        Paced::new(seed, self.options.pace, draw)
    }

    fn client(&self, worker: u32) -> MembersClient {
        MembersClient { member: format!("m{worker}"), joined: BTreeMap::new() }
    }

    fn final_reads(&self) -> Vec<Input> {
        (0..self.options.groups).map(|group| Input { group, kind: Kind::List }).collect()
    }

    fn checkers(&self) -> Vec<Box<dyn Checker>> {
        vec![Box::new(Membership)]
    }

    fn covers_shards(&self) -> bool {
        false
    }

    fn observations(&self, history: &History) -> Vec<String> {
        slowest_join(history).into_iter().collect()
    }
}

/// Liveness is told, not judged: how long the slowest join took that succeeded.
fn slowest_join(history: &History) -> Option<String> {
    let joins = history.ops.iter().filter(|op| op.f == "join" && op.end == OpEnd::Ok);
    let (op, ns) = joins.filter_map(|op| Some((op, op.ret_ns? - op.call_ns))).max_by_key(|(_, ns)| *ns)?;
    Some(format!("the slowest join, operation {}, took {:.2} s", op.index, ns as f64 / 1e9))
}

/// One worker's hands on the groups.
#[derive(Debug, Clone)]
pub struct MembersClient {
    member: String,
    /// By group, whether it may be in it.
    joined: BTreeMap<u32, bool>,
}

impl Client for MembersClient {
    type Input = Input;
    type Op = Op;

    fn prepare(&mut self, input: &Input) -> Op {
        let joined = self.joined.get(&input.group).copied().unwrap_or(false);
        let kind = if input.kind == Kind::Leave && !joined { Kind::List } else { input.kind };
        Op { group: input.group, kind, member: self.member.clone() }
    }

    async fn call<S: Store>(&mut self, store: &mut S, op: &Op) -> Completion {
        let group = op.group_name();
        match op.kind {
            Kind::Join => {
                let reply = store.join(&group, &op.member).await;
                self.joined.insert(op.group, reply.result.is_ok());
                op.complete(reply, |incarnation| json!(incarnation))
            }
            Kind::Leave => {
                self.joined.insert(op.group, false);
                op.complete(store.leave(&group).await, |()| Value::Null)
            }
            Kind::List => op.complete(store.members(&group).await, |members| json!(members)),
        }
    }

    fn timed_out(&mut self, op: &Op) -> Completion {
        let late: Reply<()> = Reply { result: Err(CallError::indefinite(outcome::TIMEOUT)), served_by: None };
        op.complete(late, |()| Value::Null)
    }
}

#[cfg(test)]
mod tests;
