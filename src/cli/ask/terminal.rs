//! The person at the terminal: questions go to stderr, answers come from stdin.

use super::Ask;
use crate::cancel::Cancel;
use crate::cli::voice;
use crate::error::{Context as _, Error, ErrorKind, Result};
use std::io::{BufRead, IsTerminal};
use tokio::sync::oneshot;

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 4096;

/// Whether there is somebody who can be asked.
pub(in crate::cli) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// See the module.
pub(in crate::cli) struct Terminal<'a> {
    cancel: &'a Cancel,
}

impl<'a> Terminal<'a> {
    /// Questions that end with an error once `cancel` asks to stop.
    pub(in crate::cli) fn new(cancel: &'a Cancel) -> Self {
        Self { cancel }
    }
}

impl Ask for Terminal<'_> {
    fn say(&mut self, text: &str) {
        voice::stderr(text);
    }

    async fn line(&mut self, question: &str) -> Result<Option<String>> {
        self.cancel.check()?;
        voice::stderr(question);
        let (sender, answer) = oneshot::channel();
        // A thread of its own, which nobody waits for: nothing ends a read from a terminal but its end or a line, and
        // Ctrl-C must end the program at once.
        std::thread::Builder::new()
            .name("answer".to_owned())
            .spawn(move || drop(sender.send(read_line())))
            .doing(|| "cannot wait for an answer".to_owned())?;
        let answer = tokio::select! {
            biased;
            () = self.cancel.cancelled() => {
                voice::stderr("\n");
                return Err(self.cancel.error());
            }
            answer = answer => answer,
        };
        let gone = |source| Error::new(ErrorKind::Failed, "cannot wait for an answer").caused_by(source);
        let line = answer.map_err(gone)?.doing(|| "cannot read the answer".to_owned())?;
        if line.is_none() {
            // The cursor stands behind the question.
            voice::stderr("\n");
        }
        Ok(line)
    }
}

fn read_line() -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut stdin = std::io::Read::take(std::io::stdin().lock(), LONGEST_ANSWER);
    if stdin.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().to_owned()))
}
