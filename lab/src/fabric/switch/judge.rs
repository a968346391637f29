//! Leading packets past the rules of their links.

use std::borrow::Cow;

use super::{Switch, now_ns};
use crate::fabric::capture::Note;
use crate::fabric::held::HeldPacket;
use crate::fabric::packet;
use crate::fabric::rule::{Fate, Link, Made, RuleId};
use crate::fabric::table::Hooks;
use crate::node::NodeId;

/// What the rules of a link have made of a packet so far.
struct Course<'a> {
    packet: Cow<'a, [u8]>,
    /// When it leaves the rules behind it.
    leaves_ns: u64,
    /// How long each of them holds it.
    holds: Vec<(RuleId, u64)>,
    /// Copies beside the packet itself.
    copies: usize,
    /// Who has altered it, if anybody.
    altered_by: Option<&'a str>,
    /// What rules send after it, and their names.
    made: Vec<(Made, &'a str)>,
}

impl Switch {
    /// Leads a packet past the rules of its link, in order of installation.
    pub(super) fn judge(&mut self, from: usize, to: usize, packet: &[u8], rules: &Hooks) {
        let link = (NodeId(from as u16), NodeId(to as u16));
        let ports = packet::ports(packet);
        let arrived_ns = now_ns();
        let mut course = Course {
            packet: packet.into(),
            leaves_ns: arrived_ns,
            holds: Vec::new(),
            copies: 0,
            altered_by: None,
            made: Vec::new(),
        };
        for state in rules.iter() {
            if !state.covers(ports, course.leaves_ns) {
                continue;
            }
            let name = state.rule.name.as_str();
            let mut passes = true;
            match state.judge(link, &course.packet, course.leaves_ns) {
                Fate::Pass => {}
                Fate::Drop => passes = false,
                Fate::HoldUntil(due_ns) => {
                    course.holds.push((state.id, due_ns - course.leaves_ns));
                    course.leaves_ns = due_ns;
                }
                Fate::Twice => course.copies += 1,
                Fate::Become(altered) => {
                    course.packet = altered.into();
                    course.altered_by = Some(name);
                }
                Fate::Beside { passes: may_pass, made } => {
                    course.made.extend(made.into_iter().map(|made| (made, name)));
                    passes = may_pass;
                }
            }
            if !passes {
                if let Some(sender) = self.table.port(from) {
                    sender.links[to].note_dropped();
                }
                self.record(from, &course.packet, Note::Dropped { rule: name });
                return self.send_forged(course.made);
            }
        }
        let made = std::mem::take(&mut course.made);
        self.deliver(link, arrived_ns, course);
        self.send_forged(made);
    }

    /// Delivers what has passed all rules, or holds it until its time.
    fn deliver(&mut self, link: Link, arrived_ns: u64, course: Course<'_>) {
        let (from, to) = (link.0.index(), link.1.index());
        let Some((sender, receiver)) = self.table.port(from).zip(self.table.port(to)) else { return };
        let note = match (course.altered_by, course.holds.is_empty()) {
            (Some(rule), _) => Note::Altered { rule },
            (None, true) => Note::Passed,
            (None, false) => Note::Held { for_ns: course.leaves_ns - arrived_ns },
        };
        if course.holds.is_empty() {
            for _ in 0..=course.copies {
                self.hand(receiver, (from, to), &course.packet);
            }
        } else {
            sender.links[to].note_delayed();
            for _ in 0..=course.copies {
                let (packet, holds) = (course.packet.as_ref().into(), course.holds.clone());
                self.held.push(HeldPacket { from, to, packet, arrived_ns, holds });
            }
            self.note_held();
        }
        self.record(from, &course.packet, note);
    }

    /// Sends what rules have made, unless its link is cut.
    fn send_forged(&mut self, made: Vec<(Made, &str)>) {
        for (Made { link: (from, to), packet }, rule) in made {
            self.put(from.index(), to.index(), &packet, Note::Made { rule });
        }
    }

    /// Lets go of the held packets whose time has come, unless the link was cut meanwhile.
    pub(super) fn deliver_due(&mut self) {
        let mut any = false;
        while let Some(held) = self.next_due() {
            any = true;
            self.put(held.from, held.to, &held.packet, Note::Passed);
        }
        if any {
            self.note_held();
        }
    }

    /// Delivers a packet of which only a cut wire can still keep its receiver. `note` is for one that no capture has
    /// seen yet.
    fn put(&mut self, from: usize, to: usize, packet: &[u8], note: Note<'_>) {
        let table = self.table.clone();
        let Some((sender, receiver)) = table.port(from).zip(table.port(to)) else { return };
        let (ports, now_ns) = (packet::ports(packet), now_ns());
        let cut = table.hooks(from, to).and_then(|rules| {
            rules.iter().find(|state| state.covers(ports, now_ns) && state.cuts_packet_in_flight())
        });
        if let Some(state) = cut {
            sender.links[to].note_dropped();
            self.record(from, packet, Note::DroppedInFlight { rule: &state.rule.name });
            return;
        }
        if !matches!(note, Note::Passed) {
            self.record(from, packet, note);
        }
        self.hand(receiver, (from, to), packet);
    }

    fn next_due(&mut self) -> Option<HeldPacket> {
        self.held.next_due_ns()?;
        self.held.pop_due(now_ns())
    }

    /// Takes back the holds of rules that are healed or over, and looks when the next one will be over.
    pub(super) fn let_go(&mut self) {
        let now_ns = now_ns();
        self.expiry_ns =
            self.rules.iter().filter_map(|state| state.over_ns()).filter(|over_ns| *over_ns > now_ns).min();
        if self.held.next_due_ns().is_some() {
            let rules = &self.rules;
            self.held.release(|id| rules.iter().any(|state| state.id == id && !state.is_over(now_ns)));
            self.deliver_due();
        }
    }

    /// Sees to it that dead men hold nothing.
    pub(super) fn expire_due(&mut self) {
        if self.expiry_ns.is_some_and(|expiry_ns| expiry_ns <= now_ns()) {
            self.let_go();
        }
    }

    fn note_held(&self) {
        self.shared.totals.note_held(self.held.len());
    }
}
