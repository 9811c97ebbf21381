//! Finds the `script` block of a Python file (PEP 723, inline script metadata).
//!
//! `Ok(None)` is a file without a block, `Err` a file with a broken one. What matches is what the PEP's reference expression
//! matches, in code and in strings alike:
//!
//! ```text
//! (?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$
//! ```
//!
//! In one point this module is stricter than the PEP, which has tools ignore a block without an end: a header that is
//! ignored is a script that never runs, so this is an error here. So is a first line with a slip in it.

use super::document::{Document, lines, problem_at};
use super::problem::Problem;

/// The line that starts the block which is read here.
const START: &str = "# /// script";

/// The line that ends a block.
const END: &str = "# ///";

/// A block of any type, as indices into the lines of the file.
struct Block<'source> {
    kind: &'source str,
    start: usize,
    end: usize,
}

/// The content of the file's `script` block, or everything that is wrong with how the block is written.
pub(super) fn find(source: &str) -> Result<Option<Document>, Vec<Problem>> {
    let lines = lines(source);
    let blocks = blocks(&lines);
    let problems = problems(&lines, &blocks);
    if !problems.is_empty() {
        return Err(problems);
    }
    let script = blocks.iter().find(|block| block.kind == "script");
    Ok(script.map(|block| Document::commented(&lines[block.start + 1..block.end], block.start + 2)))
}

/// All blocks of the file, in the order and with the extent that the reference expression gives them.
///
/// > Any Python script may have top-level comment blocks that MUST start with the line `# /// TYPE` where TYPE determines
/// > how to process the content. [...] Block MUST end with the line `# ///`. [...] The TYPE MUST only consist of ASCII
/// > letters, numbers and hyphens.
/// >
/// > Every line between these two lines MUST be a comment starting with `#`. If there are characters after the `#` then the
/// > first character MUST be a space.
fn blocks<'source>(lines: &[&'source str]) -> Vec<Block<'source>> {
    let ends = last_ends(lines);
    let mut blocks = Vec::new();
    let mut next = 0;
    while next < lines.len() {
        match block_at(lines, &ends, next) {
            Some(block) => {
                next = block.end + 1;
                blocks.push(block);
            }
            None => next += 1,
        }
    }
    blocks
}

/// The block that starts on a line. It has at least one line of content: `(...)+`.
fn block_at<'source>(lines: &[&'source str], ends: &[Option<usize>], start: usize) -> Option<Block<'source>> {
    let kind = kind_of(lines[start])?;
    let end = ends.get(start + 1).copied().flatten().filter(|end| *end >= start + 2)?;
    Some(Block { kind, start, end })
}

/// For each line: where a block ends whose content starts there, found from the last line upwards.
///
/// > Precedence for an ending line `# ///` is given when the next line is not a valid embedded content line as described
/// > above.
///
/// So it is the last ending line of an unbroken run of comments.
fn last_ends(lines: &[&str]) -> Vec<Option<usize>> {
    let mut ends = vec![None; lines.len()];
    let mut below = None;
    for (index, line) in lines.iter().enumerate().rev() {
        below = match is_content(line) {
            true => below.or((*line == END).then_some(index)),
            false => None,
        };
        ends[index] = below;
    }
    ends
}

fn kind_of(line: &str) -> Option<&str> {
    let kind = line.strip_prefix("# /// ")?;
    let is_kind = !kind.is_empty() && kind.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_kind.then_some(kind)
}

fn is_content(line: &str) -> bool {
    line == "#" || line.starts_with("# ")
}

/// What is wrong with the file's `script` block or blocks.
///
/// > When there are multiple comment blocks of the same TYPE defined, tools MUST produce an error.
/// >
/// > A starting line MUST NOT be placed between another starting line and its ending line. In such cases tools MAY produce
/// > an error. Unclosed blocks MUST be ignored.
fn problems(lines: &[&str], blocks: &[Block<'_>]) -> Vec<Problem> {
    let starts: Vec<usize> = (0..lines.len()).filter(|index| lines[*index] == START).collect();
    if starts.is_empty() {
        return slips(lines);
    }
    starts
        .iter()
        .enumerate()
        .filter_map(|(position, start)| problem_of(lines, blocks, &starts[..position], *start))
        .collect()
}

/// What is wrong with the block that starts on a line, given the lines on which earlier ones start.
fn problem_of(lines: &[&str], blocks: &[Block<'_>], earlier: &[usize], start: usize) -> Option<Problem> {
    let around = &blocks[..blocks.partition_point(|block| block.start <= start)];
    match (around.last(), earlier.first()) {
        (Some(block), _) if block.start < start && start < block.end => Some(nested(block, start)),
        (_, Some(first)) => Some(second(*first, start)),
        (Some(block), None) if block.start == start => None,
        _ => Some(unclosed(lines, start)),
    }
}

fn nested(block: &Block<'_>, start: usize) -> Problem {
    problem_at(
        start + 1,
        1,
        format!(
            "this `script` block starts inside the `{}` block of line {}; end that one with `{END}` and leave a line \
             without `#` between them, and keep only one `script` block in a file",
            block.kind,
            block.start + 1
        ),
    )
}

fn second(first: usize, start: usize) -> Problem {
    let message = format!(
        "this is another `script` block, after that of line {}; a file has one: merge them",
        first + 1
    );
    problem_at(start + 1, 1, message)
}

/// Says why the block that starts on a line has no end, at the line that is to be mended.
fn unclosed(lines: &[&str], start: usize) -> Problem {
    let length = lines[start + 1..].iter().take_while(|line| is_content(line)).count();
    let stop = start + 1 + length;
    if let Some(index) = (start + 1..stop).find(|index| lines[*index].trim_end() == END) {
        return ended_wrongly(lines, start, index);
    }
    match lines.get(stop) {
        Some(line) if line.starts_with('#') => problem_at(
            stop + 1,
            2,
            format!(
                "in the `script` block of line {} each `#` is followed by one space; write `# ` here",
                start + 1
            ),
        ),
        Some(_) => problem_at(
            start + 1,
            1,
            format!(
                "this `script` block has no end: line {} is not part of it; write `{END}` as the block's last line, and `#` on \
                 each line before that",
                stop + 1
            ),
        ),
        None => problem_at(
            start + 1,
            1,
            format!("this `script` block has no end: write `{END}` as its last line"),
        ),
    }
}

fn ended_wrongly(lines: &[&str], start: usize, end: usize) -> Problem {
    if lines[end] != END {
        let column = END.chars().count() + 1;
        return problem_at(
            end + 1,
            column,
            format!("spaces follow the end of the `script` block; write exactly `{END}`"),
        );
    }
    let message = "this `script` block is empty; write `# [tool.dropcron]` and its keys into it, or remove it";
    problem_at(start + 1, 1, message.to_owned())
}

/// The first lines of blocks that are no blocks because of a slip, in a file without any other.
fn slips(lines: &[&str]) -> Vec<Problem> {
    let is_slip = |line: &str| line != START && resembles_start(line);
    let slip = |index| {
        let message = format!("this looks like the start of a `script` block, but is not; write exactly `{START}`");
        problem_at(index + 1, 1, message)
    };
    (0..lines.len())
        .filter(|index| is_slip(lines[*index]))
        .map(slip)
        .collect()
}

/// Whether a comment says `/// script`, but for blanks, upper case, or a wrong number of slashes or hashes.
///
/// A line that is indented is left alone: it is an example in somebody's documentation.
fn resembles_start(line: &str) -> bool {
    let Some(comment) = line.strip_prefix('#') else {
        return false;
    };
    let comment = comment.trim_start_matches('#').trim();
    let word = comment.trim_start_matches('/');
    let slashes = comment.len() - word.len();
    (2..=4).contains(&slashes) && word.trim().eq_ignore_ascii_case("script")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(source: &str) -> Option<String> {
        find(source).unwrap().map(|document| document.text().to_owned())
    }

    /// The problems of a source, as `line:column` and message.
    fn problems_of(source: &str) -> Vec<(u32, u32, String)> {
        let problems = find(source).unwrap_err();
        problems
            .into_iter()
            .map(|problem| (problem.line, problem.column, problem.message))
            .collect()
    }

    fn assert_problem(source: &str, line: u32, column: u32, part: &str) {
        let problems = problems_of(source);
        let [(found_line, found_column, message)] = problems.as_slice() else {
            panic!("not one problem: {problems:?}");
        };
        assert_eq!((*found_line, *found_column), (line, column), "{message}");
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn a_file_without_a_block_has_none() {
        for source in [
            "",
            "pass\n",
            "# script\n",
            "    # /// script\n",
            "x = 1  # /// script\n",
            "# /// pyproject\n# a = 1\n# ///\n",
        ] {
            assert_eq!(content(source), None, "{source}");
        }
    }

    #[test]
    fn the_content_is_the_comment_without_its_prefix() {
        let source = "#!/usr/bin/env python3\n# /// script\n# a = 1\n#\n#   b = 2\n# ///\nimport x\n";
        assert_eq!(content(source).as_deref(), Some("a = 1\n\n  b = 2"));
    }

    #[test]
    fn line_ends_byte_order_marks_and_a_missing_last_newline_do_not_matter() {
        for source in [
            "\u{feff}# /// script\n# a = 1\n# ///",
            "# /// script\r\n# a = 1\r\n# ///\r\n",
            "# /// script\r# a = 1\r# ///\r",
        ] {
            assert_eq!(content(source).as_deref(), Some("a = 1"), "{source:?}");
        }
    }

    #[test]
    fn the_last_end_of_a_run_of_comments_counts() {
        let source =
            "# /// script\n# x = '''\n# /// <summary>\n# /// text\n# ///\n# /// </summary>\n# '''\n# ///\n# more\n";
        assert_eq!(
            content(source).as_deref(),
            Some("x = '''\n/// <summary>\n/// text\n///\n/// </summary>\n'''")
        );
    }

    #[test]
    fn a_block_in_a_string_counts_as_the_reference_expression_has_it() {
        assert_eq!(
            content("\"\"\"\n# /// script\n# a = 1\n# ///\n\"\"\"\n").as_deref(),
            Some("a = 1")
        );
    }

    #[test]
    fn blocks_of_other_types_are_passed_over() {
        let source = "# /// other\n# b = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n\n# /// open\n# c\n";
        assert_eq!(content(source).as_deref(), Some("a = 1"));
    }

    #[test]
    fn a_second_script_block_is_a_problem() {
        let block = "# /// script\n# a = 1\n# ///\n";
        assert_problem(
            &format!("{block}\n{block}"),
            5,
            1,
            "another `script` block, after that of line 1",
        );
        assert_problem(&format!("{block}{block}"), 4, 1, "inside the `script` block of line 1");
        assert_eq!(problems_of(&format!("{block}\n{block}\n{block}")).len(), 2);
    }

    #[test]
    fn a_script_block_inside_another_block_is_a_problem() {
        let source = "# /// other\n# a = 1\n# ///\n# /// script\n# b = 1\n# ///\n";
        assert_problem(source, 4, 1, "inside the `other` block of line 1");
    }

    #[test]
    fn a_block_without_an_end_is_a_problem() {
        assert_problem("x = 1\n# /// script\n# a = 1\n", 2, 1, "line 4 is not part of it");
        assert_problem("# /// script\n# a = 1", 1, 1, "no end: write `# ///`");
        assert_problem(
            "# /// script\n# a = 1\n\n# b = 1\n# ///\n",
            1,
            1,
            "line 3 is not part of it",
        );
        assert_problem("# /// script", 1, 1, "no end");
    }

    #[test]
    fn a_comment_without_its_space_is_a_problem_where_it_stands() {
        assert_problem("# /// script\n# a = 1\n#b = 1\n# ///\n", 3, 2, "followed by one space");
        assert_problem("# /// script\n#\ta = 1\n# ///\n", 2, 2, "followed by one space");
        assert_problem("# /// script\n# a = 1\n#///\n", 3, 2, "followed by one space");
    }

    #[test]
    fn an_end_with_spaces_after_it_is_a_problem_where_it_stands() {
        assert_problem("# /// script\n# a = 1\n# ///  \n\n", 3, 6, "exactly `# ///`");
    }

    #[test]
    fn an_empty_block_is_a_problem() {
        assert_problem("# /// script\n# ///\n", 1, 1, "is empty");
    }

    #[test]
    fn a_slip_in_the_first_line_is_a_problem() {
        for line in [
            "#/// script",
            "# ///script",
            "# /// script ",
            "# // script",
            "# /// Script",
            "## /// script",
            "#\t///\tscript",
        ] {
            assert_problem(
                &format!("pass\n{line}\n# a = 1\n# ///\n"),
                2,
                1,
                "exactly `# /// script`",
            );
        }
    }

    #[test]
    fn many_starts_without_an_end_are_read_in_no_time() {
        let source = "# /// other\n".repeat(200_000);
        assert_eq!(content(&source), None);
    }
}
