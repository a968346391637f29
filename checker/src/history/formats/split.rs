//! Where one event ends and the next begins, in forms whose events are collections: EDN maps and JSON objects,
//! one after another or all in one collection. Works on pieces of any size and holds one event at a time.

use super::EVENT_BYTES_MAX;

/// Whose grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// With comments, characters and tags.
    Edn,
    /// Without.
    Json,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'b> {
    /// Text that holds whole forms, mostly one; it begins on this line.
    Whole(u64, &'b [u8]),
    /// Not a form, from this line on.
    Slip(u64, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Text,
    /// After a backslash in a text.
    Escape,
    Comment,
    /// After a backslash outside of texts: a character.
    Character,
    /// After a slip: up to a line that opens a map.
    Lost,
}

/// Splits a stream of bytes into forms.
#[derive(Debug)]
pub(super) struct Splitter {
    dialect: Dialect,
    /// Does a line that opens a map no further in than the open form end that form? A broken event costs only
    /// itself then.
    offside: bool,
    /// What closes the collection around all events.
    around: Option<u8>,
    /// What closes the collections of the open form, the innermost last.
    closers: Vec<u8>,
    mode: Mode,
    form: Vec<u8>,
    form_line: u64,
    form_column: u64,
    line: u64,
    column: u64,
    line_is_blank: bool,
}

impl Splitter {
    pub(super) fn new(dialect: Dialect, offside: bool) -> Self {
        Splitter {
            dialect,
            offside,
            around: None,
            closers: Vec::new(),
            mode: Mode::Plain,
            form: Vec::new(),
            form_line: 1,
            form_column: 0,
            line: 1,
            column: 0,
            line_is_blank: true,
        }
    }

    /// The line that is being read.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The next bytes of the stream.
    pub(super) fn feed(&mut self, bytes: &[u8], each: &mut dyn FnMut(Piece<'_>)) {
        for &b in bytes {
            self.take(b, each);
            if b == b'\n' {
                self.line += 1;
                self.column = 0;
                self.line_is_blank = true;
            } else {
                self.column += 1;
                self.line_is_blank &= is_blank(b);
            }
        }
        if self.form.len() > EVENT_BYTES_MAX {
            let what = format!("it is longer than {} MiB", EVENT_BYTES_MAX >> 20);
            self.give_up(what, each);
        }
    }

    /// The end of the stream.
    pub(super) fn finish(&mut self, each: &mut dyn FnMut(Piece<'_>)) {
        match (self.mode, self.closers.last()) {
            (Mode::Text | Mode::Escape, _) => {
                each(Piece::Slip(self.form_line, "it breaks off inside a string".to_string()));
            }
            (_, Some(&close)) => {
                let what = format!("it breaks off: a `{}` is missing", char::from(close));
                each(Piece::Slip(self.form_line, what));
            }
            (_, None) => self.flush(each),
        }
        if let Some(close) = self.around {
            let what = format!("it breaks off: the history's `{}` is missing", char::from(close));
            each(Piece::Slip(self.line, what));
        }
    }

    fn take(&mut self, b: u8, each: &mut dyn FnMut(Piece<'_>)) {
        let opens_a_line = self.line_is_blank && matches!(b, b'{' | b'#');
        if opens_a_line && self.mode == Mode::Lost {
            self.mode = Mode::Plain;
        } else if opens_a_line && self.is_offside() {
            let what = format!("it breaks off before line {}", self.line);
            self.give_up(what, each);
            self.mode = Mode::Plain;
        }
        match self.mode {
            Mode::Plain => self.plain(b, each),
            Mode::Lost => {}
            Mode::Comment => {
                if b == b'\n' {
                    self.mode = Mode::Plain;
                    self.plain(b, each);
                }
            }
            Mode::Character | Mode::Escape => {
                self.mode = if self.mode == Mode::Escape { Mode::Text } else { Mode::Plain };
                self.form.push(b);
            }
            Mode::Text => {
                self.form.push(b);
                match b {
                    b'"' => self.mode = Mode::Plain,
                    b'\\' => self.mode = Mode::Escape,
                    _ => {}
                }
            }
        }
    }

    fn is_offside(&self) -> bool {
        self.offside
            && !self.closers.is_empty()
            && self.column <= self.form_column
            && self.mode != Mode::Comment
    }

    fn plain(&mut self, b: u8, each: &mut dyn FnMut(Piece<'_>)) {
        if self.form.is_empty() {
            if is_blank(b) {
                return;
            }
            (self.form_line, self.form_column) = (self.line, self.column);
        }
        match b {
            b';' if self.dialect == Dialect::Edn => self.mode = Mode::Comment,
            b'{' | b'[' | b'(' => {
                let close = if b == b'(' { b')' } else { b + 2 };
                if b != b'{' && self.form.is_empty() && self.around.is_none() {
                    self.around = Some(close);
                    return;
                }
                self.form.push(b);
                self.closers.push(close);
            }
            b'}' | b']' | b')' => self.close(b, each),
            _ => {
                self.form.push(b);
                match b {
                    b'"' => self.mode = Mode::Text,
                    b'\\' if self.dialect == Dialect::Edn => self.mode = Mode::Character,
                    _ => {}
                }
            }
        }
    }

    fn close(&mut self, b: u8, each: &mut dyn FnMut(Piece<'_>)) {
        match self.closers.pop() {
            Some(close) if close == b => {
                self.form.push(b);
                if self.closers.is_empty() {
                    self.flush(each);
                }
            }
            Some(close) => {
                let (found, due) = (char::from(b), char::from(close));
                self.give_up(format!("`{found}` where `{due}` should close a collection"), each);
            }
            None => {
                self.flush(each);
                if self.around != Some(b) {
                    each(Piece::Slip(self.line, format!("`{}` closes nothing", char::from(b))));
                }
                self.around = None;
            }
        }
    }

    fn flush(&mut self, each: &mut dyn FnMut(Piece<'_>)) {
        if !self.form.is_empty() {
            each(Piece::Whole(self.form_line, &self.form));
            self.form.clear();
        }
    }

    fn give_up(&mut self, what: String, each: &mut dyn FnMut(Piece<'_>)) {
        each(Piece::Slip(self.form_line, what));
        self.form.clear();
        self.closers.clear();
        self.mode = Mode::Lost;
    }
}

fn is_blank(b: u8) -> bool {
    b.is_ascii_whitespace() || b == b','
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pieces(text: &str, step: usize, offside: bool) -> Vec<(u64, String)> {
        let mut found = Vec::new();
        let mut each = |piece: Piece<'_>| {
            found.push(match piece {
                Piece::Whole(line, bytes) => (line, String::from_utf8_lossy(bytes).trim().to_string()),
                Piece::Slip(line, what) => (line, format!("! {what}")),
            });
        };
        let mut splitter = Splitter::new(Dialect::Edn, offside);
        for chunk in text.as_bytes().chunks(step) {
            splitter.feed(chunk, &mut each);
        }
        splitter.finish(&mut each);
        found
    }

    #[test]
    fn forms_end_where_their_collections_do() {
        let text = "; [a\n[{:a \"}\\\"\"} #x{:b \\}}\n\n #{1 {2 3}}\n:c]";
        let told = ["{:a \"}\\\"\"}", "#x{:b \\}}", "#{1 {2 3}}", ":c"];
        let expected: Vec<_> = [2, 2, 4, 5].into_iter().zip(told.map(String::from)).collect();
        assert_eq!(pieces(text, 100, false), expected);
    }

    #[test]
    fn a_broken_form_costs_only_itself_where_lines_begin_forms() {
        let text = "{:a [1}\n{:b 2}\n{:c \"x}\n{:d 4}\n  ] {:e 5}\n{:f";
        let expected = [
            (1, "! `}` where `]` should close a collection"),
            (2, "{:b 2}"),
            (3, "! it breaks off before line 4"),
            (4, "{:d 4}"),
            (5, "! `]` closes nothing"),
            (5, "{:e 5}"),
            (6, "! it breaks off: a `}` is missing"),
        ];
        assert_eq!(pieces(text, 3, true), expected.map(|(line, what)| (line, what.to_string())));
    }

    proptest! {
        #[test]
        fn pieces_do_not_depend_on_how_the_bytes_arrive(
            text in "([\\[{(} )\\]:\"#_;\\\\\n]|a){0,60}", step in 1usize..9, offside in any::<bool>()
        ) {
            prop_assert_eq!(pieces(&text, step, offside), pieces(&text, 1000, offside));
        }
    }
}
