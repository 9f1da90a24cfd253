//! Text that must never be printed: passwords, keys, connection strings with either.

use std::fmt;
use zeroize::Zeroizing;

/// A secret. `Debug` and `Display` hide it, memory is wiped when it is dropped, and the only way to the text is
/// [`Secret::expose`], so that each use can be found by its name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, for handing to the one who needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Replaces every occurrence of the `secrets` in `text`, for messages of other programs that may echo what they were
/// given. Secrets of fewer than three bytes are left: hiding them would only garble the text.
pub fn scrub(text: &str, secrets: &[Secret]) -> String {
    let mut clean = text.to_owned();
    for secret in secrets {
        if secret.expose().len() >= 3 {
            clean = clean.replace(secret.expose(), "[secret]");
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_display_tells_it() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[secret] [secret]");
        assert_eq!(scrub("password hunter2 refused", &[secret]), "password [secret] refused");
    }
}
