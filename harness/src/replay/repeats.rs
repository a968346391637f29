//! What was done to messages in an earlier run, for whoever holds the roles now.

use std::collections::BTreeMap;

use nemesis::byzantine::Strike;
use nemesis::wire::Link;
use nemesis::{Topology, View};
use results::reader::RunRecord;
use serde_json::Value;

/// A log of strikes, and who held which role when the load of its run began.
#[derive(Debug, Clone, PartialEq)]
pub struct Repeats {
    log: Vec<Strike>,
    /// By shard.
    masters: BTreeMap<u32, String>,
    zookeeper_leader: Option<String>,
}

impl Repeats {
    /// The log of a run.
    pub fn new(log: Vec<Strike>, record: &RunRecord) -> Repeats {
        let raised = record.node_events.iter().filter(|event| event.time_ns < 0 && event.step == "promoted");
        let masters = raised.map(|event| (event.shard, event.node.clone())).collect();
        // Followers dial the leader.
        let quorum = log.iter().find(|strike| strike.link == Link::Quorum);
        let zookeeper_leader = quorum.map(|strike| strike.server.clone());
        Repeats { log, masters, zookeeper_leader }
    }

    /// The same strikes in a cluster whose elections went otherwise: who was master of a shard then and who is now
    /// change places, and so do the leaders of the ensemble.
    pub fn in_roles_of(&self, topology: &Topology, now: &View) -> Vec<Strike> {
        let mut names = BTreeMap::new();
        let mut swap = |then: &String, now: &String| {
            names.insert(then.clone(), now.clone());
            names.insert(now.clone(), then.clone());
        };
        for (shard, then) in &self.masters {
            let now = now.masters.get(*shard as usize).and_then(Option::as_ref);
            if let Some((now, _)) = now.filter(|_| topology.shard_of(then) == Some(*shard as usize)) {
                swap(then, now);
            }
        }
        if let (Some(then), Some(now)) = (&self.zookeeper_leader, &now.zookeeper_leader) {
            swap(then, now);
        }
        self.log.iter().map(|strike| renamed(strike, &names)).collect()
    }
}

/// The same strike with other nodes, wherever it names them.
fn renamed(strike: &Strike, names: &BTreeMap<String, String>) -> Strike {
    let mut value = serde_json::to_value(strike).expect("a strike is plain data");
    rename(&mut value, names);
    serde_json::from_value(value).expect("a strike with other names is a strike")
}

fn rename(value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(name) = names.get(text) {
                *text = name.clone();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        Value::Object(fields) => fields.values_mut().for_each(|field| rename(field, names)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nemesis::byzantine::{Action, Pattern};
    use nemesis::wire::Way;

    fn strike(link: Link, client: &str, server: &str, action: Action) -> Strike {
        Strike {
            fault: 0,
            flow: 1,
            connection: 0,
            client: client.into(),
            server: server.into(),
            link,
            way: Way::ToClient,
            kind: "set".into(),
            occurrence: 1,
            nth: 1,
            offset_in: 0,
            offset_out: 0,
            before: b"s0r1".to_vec(),
            after: vec![],
            field: None,
            field_before: None,
            field_after: None,
            delta: 0,
            at_ns: 1,
            action,
        }
    }

    #[test]
    fn who_held_a_role_and_who_holds_it_change_places_everywhere() {
        let senders = vec!["s0r1".to_string()];
        let with = Pattern { senders, ..Pattern::of(Link::Replication, Way::ToClient, "set") };
        let repeats = Repeats {
            log: vec![
                strike(Link::Replication, "s0r0", "s0r1", Action::Swap { with }),
                strike(Link::Replication, "s0r2", "s0r1", Action::Swallow),
                strike(Link::RedisClient, "c0", "s1r0", Action::Swallow),
                strike(Link::Quorum, "zk1", "zk3", Action::Swallow),
            ],
            masters: BTreeMap::from([(0, "s0r1".into()), (1, "s1r0".into())]),
            zookeeper_leader: Some("zk3".into()),
        };
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let topology = Topology {
            zookeepers: names(&["zk1", "zk2", "zk3"]),
            shards: vec![names(&["s0r0", "s0r1", "s0r2"]), names(&["s1r0"])],
            clients: names(&["c0"]),
        };
        let now = View {
            masters: vec![Some(("s0r2".into(), 1)), Some(("s1r0".into(), 1))],
            zookeeper_leader: Some("zk2".into()),
        };
        let done = repeats.in_roles_of(&topology, &now);
        let ends: Vec<_> =
            done.iter().map(|strike| (strike.client.as_str(), strike.server.as_str())).collect();
        assert_eq!(ends, [("s0r0", "s0r2"), ("s0r1", "s0r2"), ("c0", "s1r0"), ("zk1", "zk2")]);
        assert!(matches!(&done[0].action, Action::Swap { with } if with.senders == ["s0r2"]));
        assert_eq!(done[0].before, b"s0r1", "bytes are bytes");
    }
}
