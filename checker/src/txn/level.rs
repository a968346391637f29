//! Consistency models, anomalies, and which of them forbids which.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// What transactions may see of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isolation {
    /// Writes have one order (Adya's PL-1).
    ReadUncommitted,
    /// And only committed, final writes are read, none in a circle (PL-2).
    ReadCommitted,
    /// Reads come from one snapshot, and of two that write one object the first wins (PL-SI).
    SnapshotIsolation,
    /// As if one after another, as far as single objects are read (PL-2.99).
    RepeatableRead,
    /// As if one after another (PL-3).
    Serializable,
}

/// Which order from outside the database has to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// None.
    Free,
    /// That of each process.
    Session,
    /// That of time: what returned before another was called comes first.
    RealTime,
}

/// What a database promises: an isolation and an order.
///
/// ```
/// use checker::txn::{ConsistencyModel, Isolation, Order};
///
/// let model: ConsistencyModel = "strong-session-snapshot-isolation".parse()?;
/// assert_eq!((model.isolation, model.order), (Isolation::SnapshotIsolation, Order::Session));
/// assert_eq!(ConsistencyModel::default().to_string(), "strict-serializable");
/// # Ok::<(), checker::txn::ModelError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsistencyModel {
    /// What transactions may see of each other.
    pub isolation: Isolation,
    /// Which order besides has to be kept.
    pub order: Order,
}

impl Default for ConsistencyModel {
    /// Strict serializability.
    fn default() -> Self {
        ConsistencyModel { isolation: Isolation::Serializable, order: Order::RealTime }
    }
}

/// A name that is none of a model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no consistency model; there are read-uncommitted, read-committed, snapshot-isolation, \
     repeatable-read, serializable, each also with `strong-session-` or `strong-` before it, and \
     strict-serializable"
)]
pub struct ModelError(pub String);

const ISOLATIONS: [(Isolation, &str); 5] = [
    (Isolation::ReadUncommitted, "read-uncommitted"),
    (Isolation::ReadCommitted, "read-committed"),
    (Isolation::SnapshotIsolation, "snapshot-isolation"),
    (Isolation::RepeatableRead, "repeatable-read"),
    (Isolation::Serializable, "serializable"),
];

/// The longer prefix first: one begins with the other.
const ORDERS: [(Order, &str); 3] =
    [(Order::Session, "strong-session-"), (Order::RealTime, "strong-"), (Order::Free, "")];

impl FromStr for ConsistencyModel {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        if name == "strict-serializable" {
            return Ok(ConsistencyModel::default());
        }
        let order = ORDERS.into_iter().find_map(|(order, prefix)| Some((order, name.strip_prefix(prefix)?)));
        let found = order.and_then(|(order, rest)| {
            let (isolation, _) = ISOLATIONS.into_iter().find(|(_, known)| *known == rest)?;
            Some(ConsistencyModel { isolation, order })
        });
        found.ok_or_else(|| ModelError(name.to_string()))
    }
}

impl fmt::Display for ConsistencyModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == ConsistencyModel::default() {
            return f.write_str("strict-serializable");
        }
        let prefix = ORDERS.iter().find(|(order, _)| *order == self.order).map_or("", |(_, name)| name);
        let name = ISOLATIONS.iter().find(|(one, _)| *one == self.isolation).map_or("", |(_, name)| name);
        write!(f, "{prefix}{name}")
    }
}

/// The shape of a cycle of dependencies, from the worst to the most subtle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shape {
    /// Of ww only.
    G0,
    /// Of ww and wr.
    G1c,
    /// With exactly one rw.
    GSingle,
    /// With several rw, of which no two follow each other.
    GNonadjacent,
    /// With rw that follow each other.
    G2Item,
}

/// What can be wrong with a history of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Trouble {
    /// A value was read that nobody wrote.
    FabricatedValue,
    /// A list held an element twice.
    DuplicateElement,
    /// A value of a failed transaction was read (G1a).
    AbortedRead,
    /// A value was read that its own transaction had replaced (G1b).
    IntermediateRead,
    /// A transaction read what it was to write later.
    FutureRead,
    /// A committed write went on top of one of a failed transaction.
    DirtyUpdate,
    /// Two reads of a list of which neither is a prefix of the other.
    IncompatibleOrder,
    /// The order of a register's values, as far as it follows from the transactions, is a circle.
    CyclicVersions,
    /// A transaction did not see its own effects, or not what it had read before.
    Internal,
    /// Two transactions replaced one and the same version.
    LostUpdate,
    /// A cycle of dependencies; the order that takes part in it.
    Cycle(Shape, Order),
}

impl Trouble {
    /// The name under which it is reported.
    pub fn name(self) -> &'static str {
        use Order::{Free, RealTime, Session};
        match self {
            Trouble::FabricatedValue => "fabricated-value",
            Trouble::DuplicateElement => "duplicate-element",
            Trouble::AbortedRead => "G1a",
            Trouble::IntermediateRead => "G1b",
            Trouble::FutureRead => "future-read",
            Trouble::DirtyUpdate => "dirty-update",
            Trouble::IncompatibleOrder => "incompatible-order",
            Trouble::CyclicVersions => "cyclic-versions",
            Trouble::Internal => "internal",
            Trouble::LostUpdate => "lost-update",
            Trouble::Cycle(Shape::G0, Free) => "G0",
            Trouble::Cycle(Shape::G0, Session) => "G0-process",
            Trouble::Cycle(Shape::G0, RealTime) => "G0-realtime",
            Trouble::Cycle(Shape::G1c, Free) => "G1c",
            Trouble::Cycle(Shape::G1c, Session) => "G1c-process",
            Trouble::Cycle(Shape::G1c, RealTime) => "G1c-realtime",
            Trouble::Cycle(Shape::GSingle, Free) => "G-single",
            Trouble::Cycle(Shape::GSingle, Session) => "G-single-process",
            Trouble::Cycle(Shape::GSingle, RealTime) => "G-single-realtime",
            Trouble::Cycle(Shape::GNonadjacent, Free) => "G-nonadjacent",
            Trouble::Cycle(Shape::GNonadjacent, Session) => "G-nonadjacent-process",
            Trouble::Cycle(Shape::GNonadjacent, RealTime) => "G-nonadjacent-realtime",
            Trouble::Cycle(Shape::G2Item, Free) => "G2-item",
            Trouble::Cycle(Shape::G2Item, Session) => "G2-item-process",
            Trouble::Cycle(Shape::G2Item, RealTime) => "G2-item-realtime",
        }
    }

    /// The weakest isolations that forbid it; every stronger one does too.
    fn broken(self) -> &'static [Isolation] {
        use Isolation::{ReadCommitted, ReadUncommitted, RepeatableRead, SnapshotIsolation};
        match self {
            Trouble::FabricatedValue | Trouble::DuplicateElement | Trouble::Cycle(Shape::G0, _) => {
                &[ReadUncommitted]
            }
            Trouble::AbortedRead
            | Trouble::IntermediateRead
            | Trouble::FutureRead
            | Trouble::DirtyUpdate
            | Trouble::IncompatibleOrder
            | Trouble::CyclicVersions
            | Trouble::Cycle(Shape::G1c, _) => &[ReadCommitted],
            Trouble::Internal
            | Trouble::LostUpdate
            | Trouble::Cycle(Shape::GSingle | Shape::GNonadjacent, _) => &[SnapshotIsolation, RepeatableRead],
            Trouble::Cycle(Shape::G2Item, _) => &[RepeatableRead],
        }
    }

    /// Does a database that promises `model` have to prevent it?
    ///
    /// | forbidden by | anomalies |
    /// |---|---|
    /// | read-uncommitted and above | `fabricated-value`, `duplicate-element`, `G0` |
    /// | read-committed and above | `G1a`, `G1b`, `G1c`, `future-read`, `dirty-update`, `incompatible-order`, `cyclic-versions` |
    /// | snapshot-isolation, repeatable-read, serializable | `internal`, `lost-update`, `G-single`, `G-nonadjacent` |
    /// | repeatable-read, serializable | `G2-item` |
    ///
    /// A cycle through process order is forbidden only by the `strong-session-` and `strong-` models, one through real
    /// time only by the `strong-` ones and strict serializability.
    pub fn breaks(self, model: ConsistencyModel) -> bool {
        let needed = if let Trouble::Cycle(_, order) = self { order } else { Order::Free };
        // Snapshot isolation and repeatable read are not above one another; the others are in order.
        let covers = |weakest: Isolation| match (model.isolation, weakest) {
            (Isolation::RepeatableRead, Isolation::SnapshotIsolation) => false,
            (asked, weakest) => asked >= weakest,
        };
        needed <= model.order && self.broken().iter().any(|&weakest| covers(weakest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_model_is_read_by_the_name_it_writes() {
        for (isolation, _) in ISOLATIONS {
            for (order, _) in ORDERS {
                let model = ConsistencyModel { isolation, order };
                assert_eq!(model.to_string().parse(), Ok(model));
            }
        }
        assert_eq!("strong-serializable".parse(), Ok(ConsistencyModel::default()));
        assert_eq!("linear".parse::<ConsistencyModel>(), Err(ModelError("linear".to_string())));
    }

    #[test]
    fn each_model_forbids_what_the_table_says() {
        let breaks = |trouble: Trouble, model: &str| trouble.breaks(model.parse().expect("a model"));
        let write_skew = Trouble::Cycle(Shape::G2Item, Order::Free);
        assert!(breaks(write_skew, "serializable") && breaks(write_skew, "repeatable-read"));
        assert!(
            !breaks(write_skew, "snapshot-isolation") && !breaks(write_skew, "strong-snapshot-isolation")
        );
        let fork = Trouble::Cycle(Shape::GNonadjacent, Order::Free);
        assert!(breaks(fork, "snapshot-isolation") && breaks(fork, "repeatable-read"));
        assert!(!breaks(fork, "strong-read-committed"));
        let stale = Trouble::Cycle(Shape::GSingle, Order::RealTime);
        assert!(breaks(stale, "strict-serializable") && breaks(stale, "strong-snapshot-isolation"));
        assert!(!breaks(stale, "serializable") && !breaks(stale, "strong-session-serializable"));
        assert!(breaks(Trouble::AbortedRead, "read-committed"));
        assert!(!breaks(Trouble::AbortedRead, "read-uncommitted"));
    }
}
