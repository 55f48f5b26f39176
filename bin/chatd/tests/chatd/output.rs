//! Commands whose result is what they print.

use std::fs::File;
use std::process::{Child, Command, Stdio};

use crate::support::Home;

const PRINTING: [&[&str]; 5] =
    [&["config", "show"], &["user", "list"], &["completions", "bash"], &["--help"], &["--version"]];

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let home = Home::new();
    home.run_with(&["user", "add", "messi", "--password-stdin"], "surabaya\n").done();
    for arguments in PRINTING {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let child = start(home.command(arguments).stdout(full));
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{arguments:?}: {complaint}");
        assert!(complaint.contains("cannot write the output"), "{complaint}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_failure() {
    let home = Home::new();
    home.run_with(&["user", "add", "messi", "--password-stdin"], "surabaya\n").done();
    for arguments in PRINTING {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = start(home.command(arguments).stdout(writer)).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}
