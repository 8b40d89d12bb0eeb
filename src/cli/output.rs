//! Standard output.

use std::{
    fmt::Arguments,
    io::{self, Write},
};

/// Writes a line, or ends the process.
pub(super) fn line(text: Arguments<'_>) {
    let mut output = io::stdout().lock();
    match output.write_fmt(text).and_then(|()| output.write_all(b"\n")).and_then(|()| output.flush()) {
        Ok(()) => {}
        // As in `weir project list | head -1`: whoever read it has enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            eprintln!("weir: cannot write to standard output: {error}");
            std::process::exit(1);
        }
    }
}
