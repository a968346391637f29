//! One harm at a time: inject it, say what shows it, heal it.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use std::time::Duration;

use lab::Action;

use crate::arena::{Arena, NetRule, RuleInForce, Victim};
use crate::schedule::{Harm, Window};
use crate::shape::{self, Link};
use crate::targets::Target;

/// Evidence: what was looked at, and what was seen.
pub type Evidence = Vec<(String, String)>;

/// Whom a window's target turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The processes meant.
    pub victims: Vec<Victim>,
    /// The role each one's node held at that moment, same order.
    pub roles: Vec<String>,
}

/// Who is meant by the window's target at this moment; `earlier` tells whom earlier windows have struck.
pub fn resolve(
    window: &Window,
    arena: &dyn Arena,
    earlier: impl Fn(u64) -> Option<Vec<Victim>>,
) -> Result<Resolved, String> {
    let mut rng = ChaCha8Rng::seed_from_u64(window.seed);
    let view = arena.view();
    let victims = match window.target {
        Target::SameAs { window } => {
            earlier(window).ok_or_else(|| format!("window {window} has not struck anybody"))?
        }
        target => target.resolve(arena.topology(), &view, &mut rng)?,
    };
    let roles = victims.iter().map(|victim| view.role_of(arena.topology(), &victim.node)).collect();
    Ok(Resolved { victims, roles })
}

/// A harm in force. Dropping it heals; [`heal`](Injected::heal) does so too, and says what it saw.
pub struct Injected<'a> {
    arena: &'a dyn Arena,
    harm: Harm,
    struck: Vec<Victim>,
    rule: Option<Box<dyn RuleInForce>>,
    evidence: Evidence,
    installed: bool,
}

impl<'a> Injected<'a> {
    /// Does the harm. What could not be done is in the evidence; nothing done means not installed.
    pub fn inject(window: &Window, resolved: &Resolved, arena: &'a dyn Arena) -> Self {
        let mut injected = Injected {
            arena,
            harm: window.harm,
            struck: Vec::new(),
            rule: None,
            evidence: Vec::new(),
            installed: false,
        };
        match window.harm {
            Harm::Kill => injected.strike_each(resolved, "after SIGKILL", |arena, victim| arena.kill(victim)),
            Harm::Pause => {
                injected.strike_each(resolved, "after SIGSTOP", |arena, victim| arena.pause(victim))
            }
            Harm::Partition { .. } | Harm::Delay { .. } | Harm::Loss { .. } => {
                injected.install(window, resolved);
            }
        }
        injected
    }

    fn strike_each(
        &mut self,
        resolved: &Resolved,
        when: &str,
        strike: impl Fn(&dyn Arena, &Victim) -> Result<String, String>,
    ) {
        for victim in &resolved.victims {
            let seen = strike(self.arena, victim);
            if seen.is_ok() {
                self.struck.push(victim.clone());
                self.installed = true;
            }
            self.note(victim, when, seen);
        }
    }

    fn install(&mut self, window: &Window, resolved: &Resolved) {
        let nodes: Vec<String> = resolved.victims.iter().map(|victim| victim.node.clone()).collect();
        let (links, action) = net_effect(window, &nodes, self.arena);
        let name = format!("window {}: {}", window.id, window.harm.family().name());
        self.evidence.push(("links struck".into(), links.len().to_string()));
        match self.arena.install(&NetRule { name, links, action, seed: window.seed }) {
            Ok(rule) => self.rule = Some(rule),
            Err(why) => self.evidence.push(("not installed".into(), why)),
        }
    }

    fn note(&mut self, victim: &Victim, when: &str, seen: Result<String, String>) {
        let what = format!("{} of {} {when}", victim.part.word(), victim.node);
        self.evidence.push((what, seen.unwrap_or_else(|why| format!("failed: {why}"))));
    }

    /// Undoes the harm; returns whether it ever took effect, and all that shows it.
    pub fn heal(mut self) -> (bool, Evidence) {
        self.undo();
        (self.installed, std::mem::take(&mut self.evidence))
    }

    /// Safe to call twice: what is undone is forgotten.
    fn undo(&mut self) {
        if let Some(rule) = self.rule.take() {
            let counters = rule.counters();
            drop(rule);
            let (what, hit) = match self.harm {
                Harm::Delay { .. } => ("packets delayed", counters.delayed),
                _ => ("packets dropped", counters.dropped),
            };
            self.installed = hit > 0;
            self.evidence.push((what.into(), hit.to_string()));
        }
        for victim in std::mem::take(&mut self.struck) {
            let (when, seen) = match self.harm {
                Harm::Kill => ("after restart", self.arena.restart(&victim)),
                _ => ("after SIGCONT", self.arena.resume(&victim)),
            };
            self.note(&victim, when, seen);
        }
    }
}

impl Drop for Injected<'_> {
    fn drop(&mut self) {
        self.undo();
    }
}

/// Links and action of a network harm.
fn net_effect(window: &Window, targets: &[String], arena: &dyn Arena) -> (Vec<Link>, Action) {
    let topology = arena.topology();
    match window.harm {
        Harm::Delay { base_ms, jitter_ms } => (
            shape::around(targets, topology),
            Action::Delay { base: Duration::from_millis(base_ms), jitter: Duration::from_millis(jitter_ms) },
        ),
        Harm::Loss { probability } => (shape::around(targets, topology), Action::Loss { probability }),
        Harm::Partition { shape } => (shape::cut(shape, targets, topology, window.seed), Action::Drop),
        Harm::Kill | Harm::Pause => unreachable!("only network harms have links"),
    }
}
