//! Which original bytes the receiver has, told by how many of the sent ones it has acknowledged.

use std::collections::VecDeque;

/// A stretch of the stream that is not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// So many bytes that went on with their number unchanged.
    Same(u64),
    /// `sent` bytes that stand for `original` ones: they count as received together.
    Edit { original: u64, sent: u64 },
}

/// The map from offsets in the bytes sent on to offsets in the original ones, from the first byte that is not
/// acknowledged. An offset inside an edit maps down to the edit's beginning; what was swallowed counts as received
/// as soon as all before it is.
#[derive(Debug, Default)]
pub(crate) struct Map {
    pieces: VecDeque<Piece>,
    /// Where the first piece begins.
    sent: u64,
    original: u64,
    acknowledged: u64,
}

impl Map {
    /// Appends `len` bytes whose number does not change.
    pub(crate) fn same(&mut self, len: u64) {
        match self.pieces.back_mut() {
            Some(Piece::Same(last)) => *last += len,
            _ if len > 0 => self.pieces.push_back(Piece::Same(len)),
            _ => {}
        }
    }

    /// Appends `sent` bytes in the place of `original` ones.
    pub(crate) fn edit(&mut self, original: u64, sent: u64) {
        self.pieces.push_back(Piece::Edit { original, sent });
        self.acknowledge(self.acknowledged);
    }

    /// Notes that the receiver has everything before `offset` of the sent bytes.
    pub(crate) fn acknowledge(&mut self, offset: u64) {
        self.acknowledged = self.acknowledged.max(offset);
        while let Some(first) = self.pieces.front_mut() {
            let reached = self.acknowledged - self.sent;
            let (original, sent, whole) = match first {
                Piece::Same(len) => {
                    let taken = reached.min(*len);
                    *len -= taken;
                    (taken, taken, *len == 0)
                }
                Piece::Edit { original, sent } if *sent <= reached => (*original, *sent, true),
                Piece::Edit { .. } => (0, 0, false),
            };
            self.original += original;
            self.sent += sent;
            if !whole {
                return;
            }
            self.pieces.pop_front();
        }
    }

    /// How many original bytes the receiver has, or will never see.
    pub(crate) fn received(&self) -> u64 {
        self.original
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(map: &mut Map, offset: u64) -> u64 {
        map.acknowledge(offset);
        map.received()
    }

    #[test]
    fn an_identity_maps_to_itself() {
        let mut map = Map::default();
        map.same(10);
        map.same(5);
        assert_eq!(map.pieces.len(), 1);
        assert_eq!([0, 3, 3, 2, 15].map(|at| received(&mut map, at)), [0, 3, 3, 3, 15]);
        assert!(map.pieces.is_empty());
    }

    #[test]
    fn an_offset_inside_an_edit_maps_down() {
        let mut map = Map::default();
        map.same(4);
        map.edit(3, 8);
        map.same(2);
        assert_eq!([4, 5, 11, 12, 13, 14].map(|at| received(&mut map, at)), [4, 4, 4, 7, 8, 9]);
    }

    #[test]
    fn what_is_swallowed_is_received_once_all_before_it_is() {
        let mut map = Map::default();
        map.edit(7, 0);
        assert_eq!(map.received(), 7);
        map.same(2);
        map.edit(5, 0);
        map.edit(0, 3);
        assert_eq!([1, 2, 3, 5].map(|at| received(&mut map, at)), [8, 14, 14, 14]);
        map.same(1);
        assert_eq!(received(&mut map, 6), 15);
    }
}
