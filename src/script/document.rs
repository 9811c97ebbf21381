//! The TOML text of a header, and the way back from a byte of it to a line and column of the file it came from.

use std::iter;
use std::ops::Range;

use super::problem::Problem;

/// A TOML text that knows where each of its lines stands in the file.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    /// The offset at which each line of the text starts.
    line_starts: Vec<usize>,
    /// The file's line (from 1) on which the text's first line stands.
    first_line: usize,
    /// For each line of the text: how many characters stood before it in the file (the comment prefix).
    prefixes: Vec<usize>,
}

impl Document {
    /// A file that is TOML as a whole.
    pub(super) fn whole(source: &str) -> Self {
        let lines = lines(source);
        Self::new(&lines, vec![0; lines.len()], 1)
    }

    /// The TOML in comment lines, the first of which is line `first_line` (from 1) of the file.
    ///
    /// > The embedded content is formed by taking away the first two characters of each line if the second character
    /// > is a space, otherwise just the first character (which means the line consists of only a single `#`).
    pub(super) fn commented(comments: &[&str], first_line: usize) -> Self {
        let (contents, prefixes): (Vec<&str>, Vec<usize>) = comments
            .iter()
            .map(|line| match line.strip_prefix("# ") {
                Some(content) => (content, 2),
                None => ("", 1),
            })
            .unzip();
        Self::new(&contents, prefixes, first_line)
    }

    fn new(lines: &[&str], prefixes: Vec<usize>, first_line: usize) -> Self {
        let text = lines.join("\n");
        let after_newlines = text.match_indices('\n').map(|(newline, _)| newline + 1);
        let line_starts = iter::once(0).chain(after_newlines).collect();
        Self {
            text,
            line_starts,
            first_line,
            prefixes,
        }
    }

    /// The TOML.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// A problem at the start of a span of the text.
    pub(super) fn problem(&self, span: &Range<usize>, message: String) -> Problem {
        let offset = self.boundary(span.start);
        let (index, line_start) = self.line_at(offset);
        let prefix = self.prefixes.get(index).copied().unwrap_or(0);
        let column = prefix + self.text[line_start..offset].chars().count() + 1;
        problem_at(self.first_line + index, column, message)
    }

    /// The line of the text in which a span starts.
    pub(super) fn line_of(&self, span: &Range<usize>) -> &str {
        let (_, line_start) = self.line_at(self.boundary(span.start));
        self.text[line_start..].split('\n').next().unwrap_or("")
    }

    /// Which line of the text an offset is in, and where that line starts.
    fn line_at(&self, offset: usize) -> (usize, usize) {
        let index = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .saturating_sub(1);
        (index, self.line_starts.get(index).copied().unwrap_or(0))
    }

    /// The start of the character in which an offset lies, or the end of the text.
    fn boundary(&self, offset: usize) -> usize {
        let offset = offset.min(self.text.len());
        (0..=offset)
            .rev()
            .find(|offset| self.text.is_char_boundary(*offset))
            .unwrap_or(0)
    }
}

/// A problem at a line and a column, both from 1.
pub(super) fn problem_at(line: usize, column: usize, message: String) -> Problem {
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Problem {
        line: narrow(line),
        column: narrow(column),
        message,
    }
}

/// The lines of a file as Python reads them: without a byte order mark, ended by LF, CRLF or a lone CR.
pub(super) fn lines(source: &str) -> Vec<&str> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source);
    source
        .split('\n')
        .flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(document: &Document, needle: &str) -> (u32, u32) {
        let start = document.text().find(needle).unwrap();
        let problem = document.problem(&(start..start), String::new());
        (problem.line, problem.column)
    }

    #[test]
    fn a_place_counts_the_comment_prefix() {
        let document = Document::commented(&["# a = 1", "#", "# ünï = 2"], 4);
        assert_eq!(document.text(), "a = 1\n\nünï = 2");
        assert_eq!(place(&document, "a"), (4, 3));
        assert_eq!(place(&document, "\n\nü"), (4, 8));
        assert_eq!(place(&document, "\nü"), (5, 2));
        assert_eq!(place(&document, "2"), (6, 9));
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let document = Document::whole("a = 1");
        let problem = document.problem(&(99..100), String::new());
        assert_eq!((problem.line, problem.column), (1, 6));
    }

    #[test]
    fn lines_end_as_python_ends_them() {
        assert_eq!(lines("\u{feff}a\r\nb\nc\rd"), ["a", "b", "c", "d"]);
        assert_eq!(lines("a\u{2028}b\u{b}c"), ["a\u{2028}b\u{b}c"]);
        assert_eq!(lines(""), [""]);
    }
}
