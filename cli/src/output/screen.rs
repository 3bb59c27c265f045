//! The contents of stderr: messages, and below them a frame that is redrawn.
//!
//! All output to stderr, including log lines, goes through here, so that none of it lands within the frame: a message
//! replaces the frame, and the frame is drawn again below it. Each update is one write, so that a terminal never shows half
//! of it.

use std::fmt::Write as _;
use std::io::Write;

use super::printable::styled;
use super::styled_line::StyledLine;

/// Messages with a frame below them.
pub(crate) struct Screen {
    out: Box<dyn Write + Send>,
    colour: bool,
    /// The lines of the last frame, each with its width in columns.
    frame: Vec<(String, usize)>,
}

impl Screen {
    /// Creates an empty screen.
    pub(crate) fn new(out: Box<dyn Write + Send>, colour: bool) -> Self {
        Self { out, colour, frame: Vec::new() }
    }

    /// Prints lines above the frame. `columns` is the current width of the terminal.
    pub(crate) fn print(&mut self, text: &str, columns: usize) {
        let mut bytes = self.to_top(columns);
        if !bytes.is_empty() {
            bytes.push_str(CLEAR_BELOW);
        }
        bytes.push_str(&self.coloured(&styled(text.trim_end_matches('\n'))));
        bytes.push('\n');
        for (line, _) in &self.frame {
            bytes.push_str(line);
            bytes.push('\n');
        }
        self.write(&bytes);
    }

    /// Replaces the last frame by another one.
    pub(crate) fn draw(&mut self, lines: &[StyledLine], columns: usize) {
        let frame: Vec<_> =
            lines.iter().map(|line| (self.coloured(&line.to_string()), line.width())).collect();
        if frame == self.frame {
            return;
        }
        let mut bytes = self.to_top(columns);
        for (line, _) in &frame {
            // Each line clears the rest of the line that it replaces. Clearing everything first would flicker.
            let _ = writeln!(bytes, "{line}{CLEAR_LINE}");
        }
        bytes.push_str(CLEAR_BELOW);
        self.frame = frame;
        self.write(&bytes);
    }

    /// Leaves the last frame on the screen; the next output appears below it.
    pub(crate) fn keep(&mut self) {
        self.frame.clear();
    }

    /// Returns true if styles are shown.
    pub(crate) const fn has_colour(&self) -> bool {
        self.colour
    }

    fn coloured(&self, text: &str) -> String {
        if self.colour { text.to_owned() } else { anstream::adapter::strip_str(text).to_string() }
    }

    /// Returns the sequence that moves the cursor to the first row of the frame. A terminal that has become narrower has
    /// wrapped its lines.
    fn to_top(&self, columns: usize) -> String {
        let rows: usize = self.frame.iter().map(|(_, width)| width.div_ceil(columns.max(1)).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\x1b[{rows}A\r") }
    }

    fn write(&mut self, bytes: &str) {
        // An error on stderr cannot be reported anywhere.
        let _ = self.out.write_all(bytes.as_bytes());
        let _ = self.out.flush();
    }
}

/// Erases from the cursor to the end of the line.
const CLEAR_LINE: &str = "\x1b[K";

/// Erases from the cursor to the end of the screen.
const CLEAR_BELOW: &str = "\x1b[J";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::styled_line::{GOOD, PLAIN};
    use super::*;

    #[derive(Clone, Default)]
    struct SharedBuffer(Arc<Mutex<Vec<u8>>>);

    impl Write for SharedBuffer {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl SharedBuffer {
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut self.0.lock().expect("no panic"))).expect("text")
        }
    }

    fn lines(texts: &[&str]) -> Vec<StyledLine> {
        texts.iter().map(|text| StyledLine::of(PLAIN, text)).collect()
    }

    #[test]
    fn messages_are_printed_above_the_frame() {
        let tape = SharedBuffer::default();
        let mut screen = Screen::new(Box::new(tape.clone()), false);
        screen.draw(&lines(&["one", "two"]), 80);
        assert_eq!(tape.take(), "one\x1b[K\ntwo\x1b[K\n\x1b[J");
        screen.print("careful", 80);
        assert_eq!(tape.take(), "\x1b[2A\r\x1b[Jcareful\none\ntwo\n");
        screen.keep();
        screen.print("done", 80);
        assert_eq!(tape.take(), "done\n");
    }

    #[test]
    fn a_frame_that_did_not_change_is_not_drawn_again() {
        let tape = SharedBuffer::default();
        let mut screen = Screen::new(Box::new(tape.clone()), false);
        screen.draw(&lines(&["same"]), 80);
        tape.take();
        screen.draw(&lines(&["same"]), 80);
        assert_eq!(tape.take(), "");
    }

    #[test]
    fn lines_that_a_narrower_terminal_wrapped_are_counted() {
        let tape = SharedBuffer::default();
        let mut screen = Screen::new(Box::new(tape.clone()), false);
        screen.draw(&lines(&["0123456789", "x"]), 80);
        tape.take();
        screen.draw(&lines(&["y"]), 4);
        assert_eq!(tape.take(), "\x1b[4A\ry\x1b[K\n\x1b[J");
    }

    #[test]
    fn styles_are_removed_without_colours() {
        let tape = SharedBuffer::default();
        let mut screen = Screen::new(Box::new(tape.clone()), false);
        screen.print(&StyledLine::of(GOOD, "fine").to_string(), 80);
        assert_eq!(tape.take(), "fine\n");
    }
}
