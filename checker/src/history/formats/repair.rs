//! Events that do not belong where they are: refused, or mended.

use std::borrow::Cow;

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::{FormatError, Leniency, Note, number};
use crate::history::{FormError, pair};
use crate::{Event, EventKind, Process};

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

/// The events as a history takes them, numbered from 0.
pub(super) fn repaired(
    items: Vec<(u64, Event)>,
    leniency: Leniency,
    notes: &mut Vec<Note>,
) -> Result<Vec<Event>, FormatError> {
    let mut fresh = 1 + items.iter().map(|(_, event)| number(event.process)).max().unwrap_or(0);
    let mut clients: FxHashMap<u64, Client> = FxHashMap::default();
    let mut events = Vec::with_capacity(items.len());
    for (line, mut event) in items {
        event.index = events.len() as u64;
        let stepped = match event.process {
            Process::Client(id) => step(&mut clients, id, &mut event).map_err(|form| (form, id)),
            Process::Nemesis => pair::fault(&event).map(|_| ()).map_err(|form| (form, 0)),
        };
        if let Err((form, id)) = stepped {
            if leniency == Leniency::Strict {
                return Err(FormatError::Form { line, form });
            }
            let again = matches!(form, FormError::CallWhileOpen { .. } | FormError::AfterInfo { .. });
            let goes_on = again && event.kind == EventKind::Invoke;
            let mend = if goes_on { "it goes on as a process of its own" } else { "left out" };
            notes.push(Note { line, what: format!("{form}; {mend}") });
            if !goes_on {
                continue;
            }
            event.process = Process::Client(fresh);
            clients.insert(id, client(fresh, &event));
            fresh += 1;
        }
        events.push(event);
    }
    Ok(events)
}

fn client(id: u64, event: &Event) -> Client {
    Client { id, call: event.index, f: event.f.clone(), key: event.key.clone(), stands: Stands::Open }
}

fn step(clients: &mut FxHashMap<u64, Client>, id: u64, event: &mut Event) -> Result<(), FormError> {
    let (index, process) = (event.index, event.process);
    let is_call = event.kind == EventKind::Invoke;
    let Some(known) = clients.get_mut(&id) else {
        if !is_call {
            return Err(FormError::NoCall { index, process });
        }
        clients.insert(id, client(id, event));
        return Ok(());
    };
    let call = known.call;
    match known.stands {
        Stands::Retired => return Err(FormError::AfterInfo { index, process, call }),
        Stands::Open if is_call => return Err(FormError::CallWhileOpen { index, process, open: call }),
        Stands::Completed if !is_call => return Err(FormError::TwoCompletions { index, process, call }),
        Stands::Open | Stands::Completed => {}
    }
    event.process = Process::Client(known.id);
    if is_call {
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
    known.stands = if event.kind == EventKind::Info { Stands::Retired } else { Stands::Completed };
    Ok(())
}
