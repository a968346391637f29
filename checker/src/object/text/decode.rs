//! Texts cut into the pieces of which they were made.

use std::cell::Cell;
use std::cmp::Reverse;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::{Calls, Get};
use crate::model::key_text;
use crate::object::Broken;
use crate::{History, OpEnd};

/// Everything that was seen of one put, or of the empty beginning.
pub(super) struct Block<'h> {
    /// Place of the put in the updates; none for the beginning.
    pub(super) put: Option<usize>,
    /// The pieces behind it, in order.
    pub(super) pieces: Vec<&'h str>,
    /// Where the longest text may be cut: behind the put, and behind each piece.
    cuts: Vec<usize>,
    /// Each get, by place in the gets, with the number of pieces it showed; the longest comes first.
    pub(super) gets: Vec<(usize, usize)>,
}

/// A text that was not put together from what was put there.
pub(super) enum Odd<'h> {
    /// From this byte on nothing fits.
    Nowhere(Get<'h>, usize),
    /// Neither is a prefix of the other: they differ at this byte.
    Disagree(Get<'h>, Get<'h>, usize),
}

/// Cuts all texts; none where one could be cut in more than one way, and no guess is a good one. Says also whether
/// that took a guess: then the pieces may prove that a legal order exists, but not that there is none.
pub(super) fn blocks<'h>(calls: &Calls<'h>) -> Result<Option<(Vec<Block<'h>>, bool)>, Odd<'h>> {
    let Some(words) = Words::new(calls) else { return Ok(None) };
    let blocks = cut_all(&words, calls);
    if words.is_guess.get() {
        return Ok(blocks.unwrap_or_default().map(|blocks| (blocks, true)));
    }
    Ok(blocks?.map(|blocks| (blocks, false)))
}

fn cut_all<'h>(words: &Words<'h>, calls: &Calls<'h>) -> Result<Option<Vec<Block<'h>>>, Odd<'h>> {
    let mut order: Vec<usize> = (0..calls.gets.len()).collect();
    order.sort_by_key(|&i| (Reverse(calls.gets[i].text.len()), i));
    let mut blocks: Vec<Block<'h>> = Vec::new();
    let mut of_root: FxHashMap<Option<usize>, usize> = FxHashMap::default();
    for number in order {
        let get = calls.gets[number];
        let put = match words.root(get, calls) {
            Cut::One(put) => put,
            Cut::None => return Err(Odd::Nowhere(get, 0)),
            Cut::Several => return Ok(None),
        };
        let Some(&known) = of_root.get(&put) else {
            let Some(mut block) = words.cut(get, put, calls)? else { return Ok(None) };
            block.gets.push((number, block.pieces.len()));
            of_root.insert(put, blocks.len());
            blocks.push(block);
            continue;
        };
        let block = &mut blocks[known];
        let longest = calls.gets[block.gets[0].0];
        if !longest.text.starts_with(get.text) {
            // What is wrong with it may be more than its order.
            words.cut(get, put, calls)?;
            let same = longest.text.bytes().zip(get.text.bytes()).take_while(|(one, other)| one == other);
            return Err(Odd::Disagree(get, longest, same.count()));
        }
        match block.cuts.binary_search(&get.text.len()) {
            Ok(pieces) => block.gets.push((number, pieces)),
            Err(at) => return Err(Odd::Nowhere(get, block.cuts[at.saturating_sub(1)])),
        }
    }
    Ok(Some(blocks))
}

/// What was put and what was appended, to be found at the beginning of a text.
struct Words<'h> {
    puts: Dictionary<'h>,
    /// Number of the update that put each text.
    put_by: FxHashMap<&'h str, usize>,
    pieces: Dictionary<'h>,
    /// The first piece behind the empty beginning, where that is certain.
    first: Option<&'h str>,
    /// Was a text taken for that of a put that may have been another one?
    is_guess: Cell<bool>,
}

/// In how many ways a text can begin.
enum Cut<T> {
    None,
    One(T),
    Several,
}

impl<'h> Words<'h> {
    /// None where two puts cannot be told apart, or one from the beginning.
    fn new(calls: &Calls<'h>) -> Option<Self> {
        let mut put_by = FxHashMap::default();
        for (number, update) in calls.updates.iter().enumerate().filter(|(_, update)| update.is_put) {
            if update.text.is_empty() || put_by.insert(update.text, number).is_some() {
                return None;
            }
        }
        let pieces = calls.updates.iter().filter(|update| !update.is_put).map(|update| update.text);
        let (puts, pieces) = (Dictionary::new(put_by.keys().copied()), Dictionary::new(pieces));
        let mut words = Words { puts, pieces, put_by, first: None, is_guess: Cell::new(false) };
        words.find_first(calls);
        words.is_guess.set(false);
        Some(words)
    }

    /// What the first text that certainly goes on from the empty beginning begins with.
    fn find_first(&mut self, calls: &Calls<'h>) {
        let begun =
            |get: &&Get<'h>| !get.text.is_empty() && matches!(self.root(**get, calls), Cut::One(None));
        let mut pieces =
            calls.gets.iter().find(begun).into_iter().flat_map(|get| self.pieces.starts(get.text));
        let first = pieces.next();
        self.first = if pieces.next().is_none() { first } else { None };
    }

    /// The put that a text begins with; none for the empty beginning.
    fn root(&self, get: Get<'h>, calls: &Calls<'h>) -> Cut<Option<usize>> {
        let mut is_begun = get.text.is_empty() || self.pieces.starts(get.text).next().is_some();
        let mut puts: Vec<usize> =
            self.puts.starts(get.text).filter_map(|put| self.put_by.get(put).copied()).collect();
        let several = puts.len() + usize::from(is_begun) > 1;
        if several {
            // A word that was both put and appended: not that put if it came later, nor the beginning if that went
            // on with another word.
            puts.retain(|&put| calls.updates[put].call < get.ret);
            is_begun &= self.first.is_none_or(|first| get.text.starts_with(first));
        }
        match (is_begun, &puts[..]) {
            (true, []) => Cut::One(None),
            (false, &[put]) => Cut::One(Some(put)),
            (false, []) if !several => Cut::None,
            (true, &[put]) => {
                self.is_guess.set(true);
                Cut::One(Some(put))
            }
            _ => Cut::Several,
        }
    }

    fn cut(&self, get: Get<'h>, put: Option<usize>, calls: &Calls<'h>) -> Result<Option<Block<'h>>, Odd<'h>> {
        let mut at = put.map_or(0, |put| calls.updates[put].text.len());
        let mut block = Block { put, pieces: Vec::new(), cuts: vec![at], gets: Vec::new() };
        while at < get.text.len() {
            let mut next = self.pieces.starts(&get.text[at..]);
            let Some(piece) = next.next() else { return Err(Odd::Nowhere(get, at)) };
            if next.next().is_some() {
                return Ok(None);
            }
            at += piece.len();
            block.pieces.push(piece);
            block.cuts.push(at);
        }
        Ok(Some(block))
    }
}

/// Words by their lengths.
struct Dictionary<'h> {
    words: FxHashMap<&'h str, ()>,
    /// Ascending.
    lengths: Vec<usize>,
}

impl<'h> Dictionary<'h> {
    fn new(words: impl Iterator<Item = &'h str>) -> Self {
        let words: FxHashMap<&str, ()> = words.map(|word| (word, ())).collect();
        let mut lengths: Vec<usize> = words.keys().map(|word| word.len()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        Dictionary { words, lengths }
    }

    /// Its words that `text` begins with.
    fn starts<'t>(&'t self, text: &'t str) -> impl Iterator<Item = &'h str> + 't {
        let fitting = self.lengths.iter().take_while(|&&length| length <= text.len());
        fitting.filter_map(|&length| {
            let (&word, ()) = self.words.get_key_value(text.get(..length)?)?;
            Some(word)
        })
    }
}

/// Longest part of a text that a sentence shows, in characters.
const SHOWN_CHARS_MAX: usize = 40;

/// A text in quotes, its end where it is long.
pub(super) fn quoted(text: &str) -> String {
    let cut = text.chars().count().saturating_sub(SHOWN_CHARS_MAX);
    let end: String = text.chars().skip(cut).collect();
    json!(if cut > 0 { format!("…{end}") } else { end }).to_string()
}

impl Odd<'_> {
    pub(super) fn told(&self, history: &History, key: &Value, calls: &Calls<'_>) -> Broken {
        match *self {
            Odd::Nowhere(get, at) => {
                let rest = &get.text[at..];
                let aborted = calls.failed.iter().filter(|(word, _)| !word.is_empty());
                let aborted =
                    aborted.filter(|(word, _)| rest.starts_with(**word)).min_by_key(|(_, place)| **place);
                let piece = aborted.map(|(word, _)| *word).or_else(|| piece_elsewhere(history, key, rest));
                let odd = piece.unwrap_or(rest);
                let process = history.ops[get.place].process;
                let claim = format!(
                    "the get by process {process} returned {} with {} in it",
                    quoted(get.text),
                    quoted(odd)
                );
                Broken::nowhere(&json!(odd), get.place, aborted.map(|(_, place)| *place), &claim)
            }
            Odd::Disagree(get, longest, at) => {
                let (one, other) = (&history.ops[get.place], &history.ops[longest.place]);
                let end = |text: &str| quoted(&String::from_utf8_lossy(&text.as_bytes()[at..]));
                let reason = format!(
                    "the get by process {} and the get by process {} differ in order: after the same {} bytes one \
                     goes on with {}, the other one with {}",
                    one.process,
                    other.process,
                    at,
                    end(get.text),
                    end(longest.text)
                );
                Broken::new("reordered-elements", vec![get.place, longest.place], reason)
            }
        }
    }
}

/// Something that was put to another key and that `rest` begins with.
fn piece_elsewhere<'h>(history: &'h History, key: &Value, rest: &str) -> Option<&'h str> {
    let others = history.ops.iter().filter(|op| op.end != OpEnd::Fail && op.f != "get");
    let others = others.filter(|op| key_text(&op.key) != key_text(key)).filter_map(|op| op.input.as_str());
    others.filter(|word| !word.is_empty() && rest.starts_with(word)).max_by_key(|word| word.len())
}
