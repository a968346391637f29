//! Events that do not belong where they are: refused, or mended. One event at a time.

use std::borrow::Cow;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::{FormatError, Found, Leniency, Notes};
use crate::history::{FormError, pair};
use crate::{Event, EventKind, Process};

/// What is added to a process's number when it goes on as another: 3 becomes 1000003.
const REBORN: u64 = 1_000_000;

/// Where calls without a process are kept among the clients: from here down.
const NAMELESS: u64 = u64::MAX;

/// Where a process stands, and under which number it goes.
struct Client {
    id: u64,
    call: u64,
    f: Cow<'static, str>,
    key: Option<Value>,
    stands: Stands,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stands {
    Open,
    Completed,
    Retired,
}

/// Puts events into the order a history has, numbering them from 0.
pub(super) struct Repair {
    leniency: Leniency,
    /// By the number in the file.
    clients: FxHashMap<u64, Client>,
    /// Numbers that were given to processes which have another one in the file, or none.
    given: FxHashSet<u64>,
    /// Calls without a process that are open, as keys of `clients`.
    nameless: Vec<u64>,
    nameless_seen: u64,
    events: u64,
}

/// Why an event is not taken.
enum Refusal {
    Form(FormError),
    Nameless(String),
}

impl From<FormError> for Refusal {
    fn from(form: FormError) -> Self {
        Refusal::Form(form)
    }
}

impl Repair {
    pub(super) fn new(leniency: Leniency) -> Self {
        Repair {
            leniency,
            clients: FxHashMap::default(),
            given: FxHashSet::default(),
            nameless: Vec::new(),
            nameless_seen: 0,
            events: 0,
        }
    }

    /// How many events were taken.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// The event as a history takes it; none if it is left out.
    pub(super) fn mended(&mut self, found: Found, notes: &mut Notes) -> Result<Option<Event>, FormatError> {
        let Found { line, mut event, is_nameless } = found;
        event.index = self.events;
        let stepped = match event.process {
            Process::Client(_) if is_nameless => self.nameless(line, &mut event, notes),
            Process::Client(id) => self.step(id, &mut event).map_err(Refusal::from),
            Process::Nemesis => pair::fault(&event).map(|_| ()).map_err(Refusal::from),
        };
        match stepped {
            Ok(()) => {}
            Err(Refusal::Nameless(why)) if self.leniency == Leniency::Strict => {
                return Err(FormatError::Malformed { line, why });
            }
            Err(Refusal::Nameless(why)) => {
                notes.push(line, format!("{why}; left out"));
                return Ok(None);
            }
            Err(Refusal::Form(form)) if self.leniency == Leniency::Strict => {
                return Err(FormatError::Form { line, form });
            }
            Err(Refusal::Form(form)) => {
                let again = matches!(form, FormError::CallWhileOpen { .. } | FormError::AfterInfo { .. });
                let (Process::Client(id), EventKind::Invoke, true) = (event.process, event.kind, again)
                else {
                    notes.push(line, format!("{form}; left out"));
                    return Ok(None);
                };
                let last = self.clients.get(&id).map_or(id, |known| known.id);
                let reborn = self.unused(last.wrapping_add(REBORN));
                notes.push(line, format!("{form}; it goes on as process {reborn}"));
                event.process = Process::Client(reborn);
                self.clients.insert(id, client(reborn, &event));
            }
        }
        self.events += 1;
        Ok(Some(event))
    }

    /// A number no process has so far: `wanted`, or one that looks like it.
    fn unused(&mut self, mut wanted: u64) -> u64 {
        while self.given.contains(&wanted) || self.clients.contains_key(&wanted) {
            wanted = wanted.wrapping_add(REBORN);
        }
        self.given.insert(wanted);
        wanted
    }

    fn step(&mut self, id: u64, event: &mut Event) -> Result<(), FormError> {
        let (index, process) = (event.index, event.process);
        let is_call = event.kind == EventKind::Invoke;
        if !self.clients.contains_key(&id) {
            if !is_call {
                return Err(FormError::NoCall { index, process });
            }
            let goes_as = if self.given.contains(&id) { self.unused(id) } else { id };
            event.process = Process::Client(goes_as);
            self.clients.insert(id, client(goes_as, event));
            return Ok(());
        }
        let Some(known) = self.clients.get_mut(&id) else { return Ok(()) };
        let call = known.call;
        match known.stands {
            Stands::Retired => return Err(FormError::AfterInfo { index, process, call }),
            Stands::Open if is_call => return Err(FormError::CallWhileOpen { index, process, open: call }),
            Stands::Completed if !is_call => return Err(FormError::TwoCompletions { index, process, call }),
            Stands::Open | Stands::Completed => {}
        }
        if is_call {
            event.process = Process::Client(known.id);
            *known = client(known.id, event);
            return Ok(());
        }
        if known.f != event.f || event.key.is_some() && event.key != known.key {
            let named = |f: &str, key: &Option<Value>| match key {
                Some(key) => format!("{f} {key}"),
                None => f.to_string(),
            };
            let (called, found) = (named(&known.f, &known.key), named(&event.f, &event.key));
            return Err(FormError::OtherCall { index, process, call, called, found });
        }
        event.process = Process::Client(known.id);
        known.stands = if event.kind == EventKind::Info { Stands::Retired } else { Stands::Completed };
        Ok(())
    }

    /// An event that does not say whose it is: a call is a process of its own, a completion belongs to the one
    /// such call that is open.
    fn nameless(&mut self, line: u64, event: &mut Event, notes: &mut Notes) -> Result<(), Refusal> {
        if event.kind == EventKind::Invoke {
            if self.nameless_seen == 0 {
                notes.push(line, "events without a process: every operation counts as a process of its own");
            }
            let (id, place) = (self.unused(self.nameless_seen), NAMELESS - self.nameless_seen);
            self.nameless_seen += 1;
            self.nameless.push(place);
            event.process = Process::Client(id);
            self.clients.insert(place, client(id, event));
            return Ok(());
        }
        match self.nameless.as_slice() {
            [] => {
                Err(Refusal::Nameless("a completion without :process, and no such call is open".to_string()))
            }
            &[place] => {
                self.step(place, event)?;
                self.nameless.clear();
                self.clients.remove(&place);
                Ok(())
            }
            open => Err(Refusal::Nameless(format!(
                "a completion without :process, and {} such calls are open: nobody can say whose it is",
                open.len()
            ))),
        }
    }
}

fn client(id: u64, event: &Event) -> Client {
    Client { id, call: event.index, f: event.f.clone(), key: event.key.clone(), stands: Stands::Open }
}
