//! What is wrong with a header, and where in the file.

use std::fmt;

/// One mistake in a header, at the place where a person mends it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// Line in the file, from 1.
    pub line: u32,
    /// Column in that line, in characters, from 1; one past the last character means the line's end.
    pub column: u32,
    /// What is wrong, on which key, and what to write instead.
    pub message: String,
}

/// `line:column: message`, so that a path in front of it makes what editors and terminals can jump to.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_line_column_message() {
        let problem = Problem {
            line: 7,
            column: 3,
            message: "unknown key `x`".to_owned(),
        };
        assert_eq!(problem.to_string(), "7:3: unknown key `x`");
    }

    #[test]
    fn problems_sort_by_their_place() {
        let at = |line, column| Problem {
            line,
            column,
            message: String::new(),
        };
        assert!(at(2, 9) < at(10, 1));
        assert!(at(2, 9) < at(2, 10));
    }
}
