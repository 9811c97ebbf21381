//! The program: the keeper first, since its start is on the path of every run; then the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|verb| verb == "keep") {
        return dropcron::executor::keeper::main(arguments);
    }
    dropcron::command::main()
}
