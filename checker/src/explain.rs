//! A contradiction as an [`Anomaly`]: its name, the operations that prove it, a sentence, a drawing.

use crate::history::draw;
use crate::linear::Deepest;
use crate::model::register::RegisterPart;
use crate::unique::Proof;
use crate::{Anomaly, Budget, History};

/// One partition, with what is needed to speak about it.
pub(crate) struct Case<'c, 'h> {
    pub(crate) history: &'h History,
    pub(crate) part: &'c RegisterPart<'h>,
    pub(crate) key: String,
}

impl Case<'_, '_> {
    /// A proof from unique values.
    pub(crate) fn anomaly(&self, proof: &Proof) -> Anomaly {
        self.build("non-linearizable", (0..self.part.entries.len().min(20)).collect(), format!("{proof:?}"))
    }

    /// The outcome of an exhaustive search.
    pub(crate) fn searched(&self, deepest: Deepest, _budget: &Budget) -> Anomaly {
        self.build("non-linearizable", Vec::new(), format!("{deepest:?}"))
    }

    /// Why there is no answer.
    pub(crate) fn undecided(&self, deepest: Deepest, budget: &Budget) -> String {
        format!("{} {deepest:?} {budget:?}", self.key)
    }

    /// An anomaly from places in the entries.
    fn build(&self, name: &str, mut entries: Vec<usize>, reason: String) -> Anomaly {
        entries.sort_unstable();
        entries.dedup();
        let ops: Vec<_> = entries.iter().map(|&i| &self.history.ops[self.part.entries[i].op]).collect();
        Anomaly {
            name: name.to_string(),
            key: self.key.clone(),
            ops: ops.iter().map(|op| op.index).collect(),
            reason,
            drawing: draw(&ops),
        }
    }
}
