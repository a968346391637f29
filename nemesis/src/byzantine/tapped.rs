//! An editor in a connection of the lab's fabric.

use lab::flow;

use super::editor::{Editor, Pipe};
use crate::wire::Way;

/// Makes an [`Editor`] what the fabric wants in a connection.
pub struct Tapped(pub Editor);

impl flow::Interceptor for Tapped {
    fn data(&mut self, way: flow::Way, wire: &mut flow::Wire<'_>) {
        self.0.data(way.into(), wire);
    }

    fn closed(&mut self, way: flow::Way, wire: &mut flow::Wire<'_>) {
        self.0.closed(way.into(), wire);
    }

    fn woken(&mut self, wire: &mut flow::Wire<'_>) {
        self.0.woken(wire);
    }
}

impl Pipe for flow::Wire<'_> {
    fn now_ns(&self) -> u64 {
        flow::Wire::now_ns(self)
    }

    fn pending(&self, way: Way) -> &[u8] {
        flow::Wire::pending(self, way.into())
    }

    fn offset(&self, way: Way) -> u64 {
        flow::Wire::offset(self, way.into())
    }

    fn out_offset(&self, way: Way) -> u64 {
        flow::Wire::out_offset(self, way.into())
    }

    fn receipt(&mut self, way: Way) -> flow::Receipt {
        flow::Wire::receipt(self, way.into())
    }

    fn pass(&mut self, way: Way, len: usize) {
        flow::Wire::pass(self, way.into(), len);
    }

    fn replace(&mut self, way: Way, len: usize, with: &[u8]) {
        flow::Wire::replace(self, way.into(), len, with);
    }

    fn reset(&mut self) {
        flow::Wire::reset(self);
    }

    fn wake_at(&mut self, ns: u64) {
        flow::Wire::wake_at(self, ns);
    }
}

impl From<flow::Way> for Way {
    fn from(way: flow::Way) -> Way {
        match way {
            flow::Way::ToServer => Way::ToServer,
            flow::Way::ToClient => Way::ToClient,
        }
    }
}

impl From<Way> for flow::Way {
    fn from(way: Way) -> flow::Way {
        match way {
            Way::ToServer => flow::Way::ToServer,
            Way::ToClient => flow::Way::ToClient,
        }
    }
}
