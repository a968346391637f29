//! The switch's working table: ports by number, rules by directed link, compiled anew at every change.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::link::LinkStats;
use super::rule::RuleState;
use super::twin::TwinState;
use crate::flow::TapState;
use crate::node::NodeId;

/// The most nodes a lab holds: the addresses `.1` to `.250` of its first /24.
pub(crate) const NODES_MAX: usize = 250;

/// The prefix every node's address lies in, so that all are neighbours.
pub(crate) const PREFIX_LEN: u32 = 16;

/// The address of a node: `10.77.0.<id + 1>`. Labs may share addresses, for they never meet.
pub(crate) fn addr_of(id: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, (id.0 + 1) as u8)
}

/// The node an address belongs to, if it is one of ours at all.
pub(crate) fn index_of(addr: Ipv4Addr) -> Option<usize> {
    match addr.octets() {
        [10, 77, 0, host] if host > 0 => Some(usize::from(host) - 1),
        _ => None,
    }
}

/// One node's socket in the switch.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) tun: OwnedFd,
    /// Counters of the links that start here, by destination.
    pub(crate) links: Arc<[LinkStats]>,
}

impl Port {
    pub(crate) fn new(tun: OwnedFd) -> Port {
        Port { tun, links: (0..NODES_MAX).map(|_| LinkStats::default()).collect() }
    }
}

/// The rules of one directed link, in order of installation.
pub(crate) type Hooks = Arc<[Arc<RuleState>]>;

/// What the switch needs to place one packet. Immutable; replaced as a whole.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) generation: u64,
    ports: Vec<Arc<Port>>,
    /// A square matrix, row by sender. `None` on links no rule covers, which then pay nothing.
    hooks: Vec<Option<Hooks>>,
    taps: Vec<Arc<TapState>>,
    twins: Vec<Arc<TwinState>>,
}

impl Table {
    pub(crate) fn compile(
        generation: u64,
        ports: &[Arc<Port>],
        rules: &[Arc<RuleState>],
        taps: &[Arc<TapState>],
        twins: &[Arc<TwinState>],
    ) -> Table {
        let width = ports.len();
        let mut lists: Vec<Vec<Arc<RuleState>>> = vec![Vec::new(); width * width];
        for state in rules {
            let mut links = state.rule.links.clone();
            links.sort();
            links.dedup();
            for (from, to) in links {
                lists[from.index() * width + to.index()].push(state.clone());
            }
        }
        let hooks = lists.into_iter().map(|list| (!list.is_empty()).then(|| list.into())).collect();
        Table { generation, ports: ports.to_vec(), hooks, taps: taps.to_vec(), twins: twins.to_vec() }
    }

    pub(crate) fn port(&self, index: usize) -> Option<&Arc<Port>> {
        self.ports.get(index)
    }

    /// How many ports there are.
    pub(crate) fn width(&self) -> usize {
        self.ports.len()
    }

    /// The taps, in order of installation.
    pub(crate) fn taps(&self) -> &[Arc<TapState>] {
        &self.taps
    }

    /// Nodes that share an address.
    pub(crate) fn twins(&self) -> &[Arc<TwinState>] {
        &self.twins
    }

    /// The rules on the link between two existing ports.
    pub(crate) fn hooks(&self, from: usize, to: usize) -> Option<&Hooks> {
        self.hooks[from * self.ports.len() + to].as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rule::{Action, Rule};
    use super::*;

    #[test]
    fn every_node_has_an_address_and_gets_its_packets_back() {
        for id in 0..NODES_MAX as u16 {
            assert_eq!(index_of(addr_of(NodeId(id))), Some(usize::from(id)));
        }
        assert_eq!(index_of(Ipv4Addr::new(10, 77, 1, 1)), None);
        assert_eq!(index_of(Ipv4Addr::new(10, 77, 0, 0)), None);
    }

    #[test]
    fn a_rule_covers_its_directed_links_once_and_no_others() {
        let port = || Arc::new(Port::new(std::fs::File::open("/dev/null").unwrap().into()));
        let link = (NodeId(0), NodeId(1));
        let rule = Rule::new("cut", vec![link, link], Action::Drop, 0);
        let table =
            Table::compile(1, &[port(), port(), port()], &[Arc::new(RuleState::new(1, rule))], &[], &[]);
        assert_eq!(table.hooks(0, 1).map(|h| h.len()), Some(1));
        assert!(table.hooks(1, 0).is_none() && table.hooks(0, 2).is_none());
    }
}
